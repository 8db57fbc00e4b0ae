"""An LSTM that trains by cuDNN's kernel and is exported without it."""

import keras


@keras.saving.register_keras_serializable(package="ser_keras")
class FusedLSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` that uses cuDNN's kernel in training only.

    Keras uses this kernel, which exists on GPUs alone, wherever it finds a GPU: a graph that was exported there
    could not be served elsewhere. Weights and outputs are those of `keras.layers.LSTM`; a mask has to be that of
    sequences that are padded at their end.

    Example:
        >>> import numpy as np
        >>> FusedLSTM(3)(np.zeros((2, 5, 4), "float32")).shape
        TensorShape([2, 3])
    """

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """Return the output of `keras.layers.LSTM` for `sequences` `(batch, steps, features)`."""
        self.use_cudnn = "auto" if training else False
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
