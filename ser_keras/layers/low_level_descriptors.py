"""What is read off each frame of a log-mel spectrogram beside the bands themselves."""

import keras
import numpy as np
from keras import layers, ops

_LEAST_FLUX = 1e-6
"""Added to the flux: its root has no slope where nothing changes."""


@keras.saving.register_keras_serializable(package="ser_keras")
class Cepstra(layers.Layer):
    """The first coefficients of the DCT-II over the bands of a log-mel spectrogram, of norm "ortho" but the first.

    Args:
        num_cepstra: coefficients taken; at most the number of bands.

    Example:
        >>> Cepstra(24)(np.zeros((2, 100, 64), "float32")).shape
        TensorShape([2, 100, 24])
    """

    def __init__(self, num_cepstra: int = 24, **kwargs):
        super().__init__(**kwargs)
        self.num_cepstra = num_cepstra

    def build(self, log_mel_shape):
        """Make the matrix of the cosine transform, which is no weight."""
        bands = log_mel_shape[-1]
        angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(self.num_cepstra))
        self._cosines = (np.sqrt(2 / bands) * np.cos(angles)).astype(np.float32)  # (bands, cepstra)

    def call(self, log_mel):
        """Return `(batch, frames, num_cepstra)` for `(batch, frames, bands)`."""
        return ops.matmul(log_mel, ops.cast(self._cosines, log_mel.dtype))

    def compute_output_shape(self, log_mel_shape):
        """Return `(batch, frames, num_cepstra)`."""
        return (*log_mel_shape[:2], self.num_cepstra)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "num_cepstra": self.num_cepstra}


@keras.saving.register_keras_serializable(package="ser_keras")
class SpectralShape(layers.Layer):
    """Descriptors of the shape and strength of each frame's spectrum, those of openSMILE's ComParE set among them.

    Of the mel power of a frame, as a distribution over the bands: centroid, log variance, skewness, log
    kurtosis, the roll-off points of 25, 50, 75 and 90 %, and entropy. Of the power itself: its log, its
    fourth root, and its loudness (the sum of the bands, each to the power of 0.23, after Zwicker); and the
    root of the spectral flux from the frame before. Frequencies are parts of the mel scale from the
    lowest band to the highest. The power is that of the recording as it is, since the shape of a
    normalised spectrum says less. All is continuous, so that a gradient can be taken of it.

    Reference: Weninger et al., On the Acoustics of Emotion in Audio, 2013.

    Example:
        >>> SpectralShape()(np.zeros((2, 100, 64), "float32")).shape
        TensorShape([2, 100, 13])
    """

    ROLL_OFFS = (0.25, 0.5, 0.75, 0.9)

    def call(self, log_mel):
        """Return `(batch, frames, 13)` for a log-mel spectrogram `(batch, frames, bands)` in dB."""
        log_power = log_mel * (np.log(10) / 10)
        power = ops.exp(log_power)
        total = ops.sum(power, axis=-1, keepdims=True)
        amplitude = ops.sqrt(power)
        changes = amplitude - ops.concatenate([amplitude[:, :1], amplitude[:, :-1]], axis=1)
        return ops.concatenate(
            [
                *self._shape(power / total),
                ops.log(total),
                _fourth_root(total),
                ops.sum(ops.exp(0.23 * log_power), axis=-1, keepdims=True),
                _fourth_root(ops.sum(ops.square(changes), axis=-1, keepdims=True) + _LEAST_FLUX),
            ],
            axis=-1,
        )

    def _shape(self, density):
        bands = density.shape[-1]
        place = np.linspace(0, 1, bands, dtype=np.float32)

        def mean(values):
            return ops.sum(density * values, axis=-1, keepdims=True)

        centroid = mean(place)
        variance = mean(ops.square(place - centroid)) + 1e-4
        distance = (place - centroid) / ops.sqrt(variance)
        square = ops.square(distance)
        before = ops.matmul(density, np.tri(bands, k=-1, dtype=np.float32).T)  # in the bands below
        roll_offs = [
            ops.mean(ops.clip((part - before) / density, 0, 1), axis=-1, keepdims=True) for part in self.ROLL_OFFS
        ]
        entropy = -mean(ops.log(density))
        return [
            centroid,
            ops.log(variance),
            mean(square * distance),
            ops.log(mean(ops.square(square)) + 1),
            *roll_offs,
            entropy,
        ]

    def compute_output_shape(self, log_mel_shape):
        """Return `(batch, frames, 13)`."""
        return (*log_mel_shape[:2], 9 + len(self.ROLL_OFFS))


def _fourth_root(values):
    return ops.sqrt(ops.sqrt(values))
