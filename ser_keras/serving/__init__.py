"""What is served: signatures, the checks of an export, and the protocol of TF Serving."""
