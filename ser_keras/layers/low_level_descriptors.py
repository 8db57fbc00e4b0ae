"""Low-level descriptors of each frame: cepstra, and the shape of the spectrum."""

import keras
import numpy as np
from keras import ops

_LEAST_FLUX = 1e-6
"""Added to the flux, whose root has no gradient at zero."""


@keras.saving.register_keras_serializable(package="ser_keras")
class Cepstra(keras.layers.Layer):
    """The first coefficients of the DCT-II over the bands of a log-mel spectrogram.

    The scaling is that of ``scipy.fft.dct(..., norm="ortho")`` for all coefficients but the first. The transform is
    a product with a constant matrix, since `tf.signal.mfccs_from_log_mel_spectrograms` has no equivalent in
    `keras.ops`.

    Args:
        num_cepstra: number of coefficients; at most the number of bands.

    Example:
        >>> Cepstra(24)(np.zeros((2, 100, 64), "float32")).shape
        TensorShape([2, 100, 24])
    """

    def __init__(self, num_cepstra: int = 24, **kwargs):
        super().__init__(**kwargs)
        self.num_cepstra = num_cepstra

    def call(self, log_mel):
        """Return `(batch, frames, num_cepstra)` for `(batch, frames, bands)`."""
        bands = log_mel.shape[-1]
        angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(self.num_cepstra))
        cosines = (np.sqrt(2 / bands) * np.cos(angles)).astype(np.float32)  # (bands, cepstra)
        return ops.matmul(log_mel, ops.cast(cosines, log_mel.dtype))


@keras.saving.register_keras_serializable(package="ser_keras")
class SpectralShape(keras.layers.Layer):
    """Low-level descriptors of the shape and strength of each frame's spectrum, after openSMILE's ComParE set.

    Of the mel power of a frame, as a distribution over the bands: centroid, log variance, skewness, log
    kurtosis, the roll-off points of 25, 50, 75 and 90 %, and entropy. Of the power itself: its log, its
    fourth root, and its loudness (the sum of the bands, each to the power of 0.23, after Zwicker); and the
    root of the spectral flux from the frame before. Frequencies are fractions of the mel scale from the
    lowest band to the highest. The input is the spectrogram before the normalisation, which would change the
    shape of the spectrum. All descriptors are continuous, so that they have gradients.

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
        below = ops.matmul(density, np.tri(bands, k=-1, dtype=np.float32).T)  # the sum of the bands below each
        roll_offs = [
            ops.mean(ops.clip((fraction - below) / density, 0, 1), axis=-1, keepdims=True)
            for fraction in self.ROLL_OFFS
        ]
        return [
            centroid,
            ops.log(variance),
            mean(square * distance),
            ops.log(mean(ops.square(square)) + 1),
            *roll_offs,
            -mean(ops.log(density)),
        ]


def _fourth_root(values):
    return ops.sqrt(ops.sqrt(values))
