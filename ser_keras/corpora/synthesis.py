"""Speech-like clips for the synthetic corpus, by source-filter synthesis (Fant 1960).

Glottal pulses and breath noise pass through moving formants. Each emotion sets pitch, pace, level and voice quality in
the directions that Banse & Scherer (1996) and Juslin & Laukka (2003) report; calm follows the latter's tenderness.
No Python package synthesizes voices without a program to install beside it, so that these lines are our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import istft, resample, stft

from ser_keras.errors import InputError

SENTENCES = (
    "ma no ti le su",
    "sa le mo ni tu ka",
    "no ta mi su le",
    "ti mo sa ne lu ma",
    "ka no le si mu ta",
)

STYLES = {  # pitch and size of its accents, semitones; pace; level, spectral tilt (an octave), breath, dB; jitter, %
    "neutral": (0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.6),
    "calm": (-1.0, 1.2, 0.82, -4.5, -2.0, 2.0, 0.4),
    "happy": (4.0, 5.0, 1.15, 4.0, 1.5, -3.0, 0.6),
    "sad": (-2.0, 0.8, 0.72, -8.0, -3.0, 6.0, 1.2),
    "angry": (3.5, 3.5, 1.2, 9.0, 3.2, -6.0, 1.4),
    "fearful": (6.5, 1.2, 1.3, 0.0, -0.5, 5.0, 2.8),
    "disgust": (-3.0, 3.0, 0.76, 2.0, 1.2, 0.0, 4.0),
    "surprised": (7.5, 6.0, 0.9, 3.0, -1.0, 5.0, 0.8),
}
"""The styles of RAVDESS's eight emotions, relative to the speaker's neutral voice."""

_SPREAD = (0.6, 0.5, 0.06, 1.2, 0.5, 1.2, 0.3)  # standard deviations of a style between clips
_LOWEST = (-np.inf, 0.3, 0.6, -np.inf, -np.inf, -np.inf, 0.2)
_VOWELS = {  # the first four formants of a male voice, Hz (Peterson & Barney 1952; the fourth is ours)
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (270, 2290, 3010, 3600),
    "o": (570, 840, 2410, 3300),
    "u": (300, 870, 2240, 3300),
}
_HALF_BANDWIDTHS_HZ = (40.0, 50.0, 70.0, 110.0)
_CONSONANTS = {  # level of the voice and of the noise relative to a vowel, dB; centre of the noise, Hz
    "m": (-9.0, -80.0, 1000.0),
    "n": (-9.0, -80.0, 1500.0),
    "l": (-6.0, -80.0, 1500.0),
    "k": (-60.0, -30.0, 1800.0),
    "t": (-60.0, -28.0, 4000.0),
    "s": (-60.0, -24.0, 6000.0),
}
_RATE, _HOP, _FFT_LENGTH = 16000, 160, 640  # a step of every track is 10 ms
_PEAK = 0.9


@dataclass(frozen=True)
class Voice:
    """A speaker's voice.

    Attributes:
        gender: "female" or "male".
        pitch_hz: usual pitch, Hz.
        formant_scale: formants relative to those of a male vocal tract: about 1 for men, 1.17 for women.
        syllables_per_second: usual pace.
        level_db: usual loudness, dB.
    """

    gender: str
    pitch_hz: float
    formant_scale: float
    syllables_per_second: float
    level_db: float = 0.0


def draw_voice(gender: str, rng: np.random.Generator) -> Voice:
    """Draw a new speaker's voice, with a pitch of about 200 Hz (female) or 115 Hz (male).

    Example:
        >>> draw_voice("female", np.random.default_rng(0)).pitch_hz > 165
        True
    """
    pitch_hz, formant_scale = (205.0, 1.17) if gender == "female" else (115.0, 1.0)
    return Voice(
        gender,
        pitch_hz=pitch_hz * 2 ** (rng.uniform(-2, 2) / 12),
        formant_scale=formant_scale * rng.uniform(0.96, 1.04),
        syllables_per_second=rng.uniform(3.8, 4.4),
        level_db=rng.uniform(-1, 1),
    )


def synthesize_clip(
    emotion: str,
    voice: Voice,
    rng: np.random.Generator,
    *,
    text: str = SENTENCES[0],
    sample_rate: int = _RATE,
) -> np.ndarray:
    """Synthesize one sentence in one voice and one emotion.

    Args:
        emotion: a name out of `STYLES`.
        voice: the speaker, see `draw_voice`.
        rng: source of the differences between clips of one style.
        text: syllables of one consonant of "klmnst" and one vowel of "aeiou", with spaces between.
        sample_rate: Hz.

    Returns:
        The waveform, `(time,)` float32 in [-0.9, 0.9], 1 to 2 s.

    Raises:
        InputError: the emotion has no style, or the text has another syllable.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clip = synthesize_clip("angry", draw_voice("male", rng), rng)
        >>> clip.dtype, 16000 <= len(clip) <= 32000
        (dtype('float32'), True)
    """
    check_emotions([emotion])
    neutral, style = np.array(STYLES["neutral"]), np.array(STYLES[emotion])
    style = neutral + rng.uniform(0.8, 1.15) * (style - neutral) + _SPREAD * rng.standard_normal(len(style))
    pitch, accent_size, pace, level_db, tilt_db, breath_db, jitter = np.maximum(style, _LOWEST)
    accent, *formants_hz, voice_db, noise_db, noise_hz = _articulate(text, pace * voice.syllables_per_second, rng)
    semitones = pitch + accent_size * accent + jitter / 6 * rng.standard_normal(len(accent))  # 1 % is 1/6 semitone
    source = _glottal_pulses(voice.pitch_hz * 2 ** (semitones / 12))
    noise = rng.standard_normal(len(source))
    hz = np.fft.rfftfreq(_FFT_LENGTH, 1 / _RATE)[:, None]
    tract = _tract_gain(np.array(formants_hz) * voice.formant_scale, hz) * _from_db(voice_db)  # (bins, steps)
    hiss = np.exp(-2 * np.log2(np.maximum(hz, 50) / noise_hz) ** 2) * _from_db(noise_db)
    tilt = _from_db((tilt_db - 3) * np.log2(np.maximum(hz, 500) / 500))
    speech = _filter(source, tract * tilt) + _filter(noise, tract * _from_db(breath_db - 46) + hiss)
    speech *= _from_db(level_db + voice.level_db - 26) / np.sqrt(np.mean(speech**2))
    speech += _from_db(-66) * rng.standard_normal(len(speech))  # a quiet room
    clip = resample(speech, round(len(speech) * sample_rate / _RATE))
    return (clip * min(1.0, _PEAK / np.abs(clip).max())).astype(np.float32)


def check_emotions(emotions: Sequence[str]) -> None:
    """Refuse emotions that are none, repeated or without a style."""
    if not emotions or len(set(emotions)) < len(emotions) or not STYLES.keys() >= set(emotions):
        raise InputError(f"emotions are {list(emotions)}; choose one or more, each once, out of {', '.join(STYLES)}")


def _articulate(text: str, syllables_per_second: float, rng: np.random.Generator) -> np.ndarray:
    """Return tracks `(8, steps)`: accent, four formants in Hz, levels of voice and noise in dB, noise centre in Hz."""
    silence = [0.06, 0.0, *_VOWELS["a"], -80.0, -80.0, 2000.0]  # seconds, and a value of each track
    rows = [silence]
    for index, (consonant, vowel) in enumerate(_syllables(text)):
        seconds, is_stressed = rng.uniform(0.85, 1.15) / syllables_per_second, index % 2 == 0
        accent = (0.7 if is_stressed else -0.7) + 0.5 * rng.standard_normal()
        stress_db = 1.5 * is_stressed + rng.standard_normal()
        voice_db, noise_db, noise_hz = _CONSONANTS[consonant]
        rows.append([0.3 * seconds, accent, *_VOWELS[vowel], voice_db + stress_db, noise_db + stress_db, noise_hz])
        rows.append([0.7 * seconds, accent, *_VOWELS[vowel], stress_db, -80.0, noise_hz])
    seconds, *tracks = np.array([*rows, silence]).T
    seconds *= np.clip(seconds.sum(), 1.03, 1.95) / seconds.sum()
    steps = np.maximum(1, np.round(seconds * _RATE / _HOP)).astype(int)
    kernel = np.hanning(7)[1:-1]  # articulators take about 50 ms to move
    return convolve1d(np.repeat(tracks, steps, axis=1), kernel / kernel.sum(), axis=1, mode="nearest")


def _syllables(text: str) -> list[str]:
    syllables = text.split()
    if not syllables or not {c + v for c in _CONSONANTS for v in _VOWELS}.issuperset(syllables):
        raise InputError(f"the text {text!r} is not made of syllables such as {SENTENCES[0]!r}")
    return syllables


def _glottal_pulses(pitch_hz: np.ndarray) -> np.ndarray:
    """Derivative of the glottal flow (Klatt & Klatt 1990, KLGLOTT88), open for 60 % of each period."""
    pitch = np.interp(np.arange(len(pitch_hz) * _HOP) / _HOP, np.arange(len(pitch_hz)), pitch_hz)
    phase = np.cumsum(pitch / _RATE) % 1.0
    flow = np.where(phase < 0.6, phase**2 * (1 - phase / 0.6), 0.0)
    return np.diff(flow, prepend=0.0) * _RATE / pitch


def _tract_gain(formants_hz: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Return the product of the formants' resonances (Fant 1960), `(bins, steps)`."""
    gain = 1.0
    for centre, half_width in zip(formants_hz, _HALF_BANDWIDTHS_HZ, strict=True):
        below, above = (hz - centre) ** 2 + half_width**2, (hz + centre) ** 2 + half_width**2
        gain = gain * (centre**2 + half_width**2) / np.sqrt(below * above)
    return gain


def _filter(signal: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Multiply short-time spectra by `gains`, (bins, steps)."""
    options = {"nperseg": 2 * _HOP, "noverlap": _HOP, "nfft": _FFT_LENGTH}
    spectra = stft(signal, **options)[2]  # (bins, steps + 1)
    return istft(spectra * np.pad(gains, ((0, 0), (0, 1)), mode="edge"), **options)[1][: len(signal)]


def _from_db(decibels: np.ndarray | float) -> np.ndarray | float:
    return 10.0 ** (np.asarray(decibels) / 20)
