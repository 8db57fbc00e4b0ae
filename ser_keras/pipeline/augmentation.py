"""Augmented copies of clips for a frozen encoder: another pace and pitch, another microphone, noise."""

from dataclasses import dataclass

import numpy as np

_KNOTS = 6
"""Points at which the curve of a random filter is drawn, evenly spaced over the mel scale."""

_TAPS = 257


@dataclass(frozen=True)
class Augmentation:
    """Changes a clip at random: plays it faster or slower, filters it, and adds noise.

    Each change has its own draw. The level is not changed, since models bring all clips to one level.

    Attributes:
        speed: largest change of the speed, as a fraction; pitch and length change with it. 0: none.
        filter_db: standard deviation of the filter at its knots, in dB; 0: none.
        snr_db: signal-to-noise ratios of the noise, lowest and highest, in dB. Half of the clips get white noise, half
            pink. None: no noise.
        sample_rate: of the clips, in Hz.

    Example:
        >>> tone = np.sin(np.arange(16_000) / 5).astype(np.float32)
        >>> louder_noise = Augmentation(speed=0.0, filter_db=0.0, snr_db=(0.0, 0.0))
        >>> noise = louder_noise(tone, np.random.default_rng(0)) - tone
        >>> round(float(np.square(noise).mean() / np.square(tone).mean()), 2)
        1.0
    """

    speed: float = 0.1
    filter_db: float = 4.0
    snr_db: tuple[float, float] | None = (10.0, 40.0)
    sample_rate: int = 16_000

    def __call__(self, samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return a changed copy of float32 samples `(time,)`, full scale 1."""
        samples = self._at_another_speed(samples, 1 + random.uniform(-self.speed, self.speed))
        samples = self._filtered(samples, random)
        return np.asarray(self._with_noise(samples, random), np.float32)

    def _at_another_speed(self, samples: np.ndarray, factor: float) -> np.ndarray:
        import soxr

        return soxr.resample(samples, self.sample_rate * factor, self.sample_rate, "MQ") if self.speed else samples

    def _filtered(self, samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
        from scipy.signal import firwin2, oaconvolve

        if not self.filter_db:
            return samples
        mel = np.linspace(0, np.log1p(self.sample_rate / 2 / 700), _KNOTS)
        frequency = 700 * np.expm1(mel) / (self.sample_rate / 2)  # O'Shaughnessy's mel scale
        frequency[-1] = 1.0
        gain = 10 ** (random.normal(0, self.filter_db, _KNOTS) / 20)
        return oaconvolve(samples, firwin2(_TAPS, frequency, gain), mode="same")

    def _with_noise(self, samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if self.snr_db is None or not len(samples):
            return samples
        noise = random.normal(size=len(samples))
        if random.random() < 0.5:
            spectrum = np.fft.rfft(noise)
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(samples))
        power = np.square(samples).mean() * 10 ** (-random.uniform(*self.snr_db) / 10)
        return samples + noise * np.sqrt(power / max(np.square(noise).mean(), np.finfo(float).tiny))
