"""Speech emotion recognition in Keras: labelled recordings in, a served model out.

Importing the package is cheap: TensorFlow is loaded by the modules that need it
(`ser_keras.preprocessing`, `ser_keras.model`, ...), not by this one.
"""

__version__ = "0.1.0"
