"""An LSTM that trains at the speed of a GPU and is served anywhere."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="ser_keras")
class FusedLSTM(layers.LSTM):
    """`keras.layers.LSTM`, by the kernel of cuDNN in training on a GPU and never outside training.

    Keras takes that kernel, which exists on GPUs alone, wherever it sees a GPU: a graph that was exported there
    could be served nowhere else. Weights and outputs are those of `keras.layers.LSTM`; a mask has to be that of
    sequences that are padded at their end.

    Example:
        >>> import numpy as np
        >>> FusedLSTM(3)(np.zeros((2, 5, 4), "float32")).shape
        TensorShape([2, 3])
    """

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """Return what `keras.layers.LSTM` returns for `sequences` `(batch, steps, features)`."""
        self.use_cudnn = "auto" if training else False
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
