"""The layers of the model, from the waveform to the fused logits."""
