"""A made-up voice: one sentence in one voice and one emotion, by source-filter synthesis.

No voice was recorded: a source-filter model (Fant 1960) puts a train of glottal pulses and some breath
through moving formants. Each emotion sets pitch, pace, level and voice quality in the directions that
Banse & Scherer (1996) and Juslin & Laukka (2003) report; calm follows the latter's tenderness, and
surprise, which neither has, is high, breathy and rising. Each speaker has a voice of their own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ser_keras.errors import InputError

SENTENCES = (
    "ma no ti le su",
    "sa le mo ni tu ka",
    "no ta mi su le",
    "ti mo sa ne lu ma",
    "ka no le si mu ta",
)

_VOWELS = {  # the first four formants of a male voice in Hz (Peterson & Barney 1952; the fourth is ours)
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (270, 2290, 3010, 3600),
    "o": (570, 840, 2410, 3300),
    "u": (300, 870, 2240, 3300),
}
_BANDWIDTHS_HZ = np.array([80.0, 100.0, 140.0, 220.0])
_CONSONANTS = {  # voicing and noise in dB beside the vowel, and the noise's centre in Hz
    "m": (-9.0, -80.0, 1000.0),
    "n": (-9.0, -80.0, 1500.0),
    "l": (-6.0, -80.0, 1500.0),
    "k": (-60.0, -30.0, 1800.0),
    "t": (-60.0, -28.0, 4000.0),
    "s": (-60.0, -24.0, 6000.0),
}
_STEP_SECONDS = 0.01
_SPREAD = {  # how far two renderings of one emotion lie apart, in the units of EmotionStyle
    "pitch": 0.6,
    "pitch_range": 0.5,
    "pitch_slope": 1.0,
    "pace": 0.06,
    "level_db": 1.2,
    "tilt_db": 0.5,
    "breath_db": 1.2,
    "jitter": 0.3,
    "pauses": 0.0,
}
_PEAK = 0.9


@dataclass(frozen=True)
class EmotionStyle:
    """How an emotion differs from the speaker's neutral voice.

    Attributes:
        pitch: Level of the pitch, semitones.
        pitch_range: Size of the pitch accents, semitones.
        pitch_slope: Drift of the pitch from the start of the clip to its end, semitones.
        pace: Syllables a second, as a factor.
        level_db: Loudness, dB.
        tilt_db: Slope of the spectrum above 500 Hz, dB an octave: vocal effort lifts it.
        breath_db: Breath noise, dB.
        jitter: Roughness of the pitch, percent, rms.
        pauses: Share of the syllables with a pause behind them.
    """

    pitch: float = 0.0
    pitch_range: float = 2.0
    pitch_slope: float = -2.0
    pace: float = 1.0
    level_db: float = 0.0
    tilt_db: float = 0.0
    breath_db: float = 0.0
    jitter: float = 0.6
    pauses: float = 0.1


@dataclass(frozen=True)
class Voice:
    """What a speaker is born with, and how they usually speak.

    Attributes:
        gender: "female" or "male".
        pitch_hz: Usual pitch, Hz.
        formant_scale: Formants against those of a male vocal tract: about 1 for men, 1.17 for women.
        syllables_per_second: Usual pace.
        level_db: Usual loudness, dB.
        tilt_db: Slope of the spectrum, dB an octave.
        breath_db: Breath noise, dB.
    """

    gender: str
    pitch_hz: float
    formant_scale: float
    syllables_per_second: float
    level_db: float = 0.0
    tilt_db: float = 0.0
    breath_db: float = 0.0


# pitch, pitch_range, pitch_slope, pace, level_db, tilt_db, breath_db, jitter, pauses
STYLES = {
    "neutral": EmotionStyle(),
    "calm": EmotionStyle(-1.0, 1.2, -1.5, 0.82, -4.5, -2.0, 2.0, 0.4, 0.15),
    "happy": EmotionStyle(4.0, 5.0, 1.0, 1.15, 4.0, 1.5, -3.0, 0.6, 0.0),
    "sad": EmotionStyle(-2.0, 0.8, -3.0, 0.72, -8.0, -3.0, 6.0, 1.2, 0.35),
    "angry": EmotionStyle(3.5, 3.5, -4.0, 1.2, 9.0, 3.2, -6.0, 1.4, 0.0),
    "fearful": EmotionStyle(6.5, 1.2, 0.5, 1.3, 0.0, -0.5, 5.0, 2.8, 0.1),
    "disgust": EmotionStyle(-3.0, 3.0, -5.0, 0.76, 2.0, 1.2, 0.0, 4.0, 0.3),
    "surprised": EmotionStyle(7.5, 3.0, 10.0, 0.9, 3.0, -1.0, 5.0, 0.8, 0.0),
}
"""The styles of RAVDESS's eight emotions."""


def draw_voice(gender: str, rng: np.random.Generator) -> Voice:
    """A new speaker's voice.

    Args:
        gender: "female" or "male".
        rng: Source of chance.

    Returns:
        A voice with a pitch of about 200 Hz (female) or 115 Hz (male).

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
        tilt_db=rng.uniform(-0.5, 0.5),
        breath_db=rng.uniform(-2, 2),
    )


def synthesize_clip(
    emotion: str,
    voice: Voice,
    rng: np.random.Generator,
    *,
    text: str = SENTENCES[0],
    sample_rate: int = 16000,
) -> np.ndarray:
    """One sentence in one voice and one emotion.

    Args:
        emotion: A name out of `STYLES`.
        voice: The speaker, see `draw_voice`.
        rng: Source of chance: each rendering is a little different.
        text: Syllables of one consonant of "klmnst" and one vowel of "aeiou", with spaces between.
        sample_rate: Hz.

    Returns:
        The waveform, `(time,)` float32 in [-0.9, 0.9], 1 to 2 s.

    Raises:
        InputError: The emotion has no style, or the text another syllable.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clip = synthesize_clip("angry", draw_voice("male", rng), rng)
        >>> clip.dtype, 16000 <= len(clip) <= 32000
        (dtype('float32'), True)
    """
    check_emotions([emotion])
    style = _vary(STYLES[emotion], rng)
    score = _score(_syllables(text), style, voice, rng)
    source = _glottal_source(score, sample_rate)
    noise = _white_noise(len(source), sample_rate, rng)
    timbre = (style.tilt_db + voice.tilt_db, style.breath_db + voice.breath_db)
    speech = _record(_filter(source, noise, score, timbre, sample_rate), sample_rate)
    room = _record(_white_noise(len(source), sample_rate, rng), sample_rate)
    return _mix(speech, room, -26 + style.level_db + voice.level_db)


def check_emotions(emotions: Sequence[str]) -> None:
    """Refuse emotions that are none, repeated or without a style."""
    if not emotions or len(set(emotions)) < len(emotions) or not STYLES.keys() >= set(emotions):
        raise InputError(f"emotions are {list(emotions)}; choose one or more, each once, out of {', '.join(STYLES)}")


@dataclass(frozen=True)
class _Score:
    """What the voice does, every 10 ms: arrays of shape (steps,), formants (steps, 4)."""

    pitch_hz: np.ndarray
    formants_hz: np.ndarray
    voice_db: np.ndarray
    noise_db: np.ndarray
    noise_hz: np.ndarray


def _vary(style: EmotionStyle, rng: np.random.Generator) -> EmotionStyle:
    """The style as one rendering has it: stronger or weaker, and a little off."""
    neutral, strength = asdict(EmotionStyle()), rng.uniform(0.8, 1.15)
    values = {
        name: neutral[name] + strength * (value - neutral[name]) + _SPREAD[name] * rng.standard_normal()
        for name, value in asdict(style).items()
    }
    lowest = {"pitch_range": 0.3, "jitter": 0.2, "pace": 0.6}
    return EmotionStyle(**values | {name: max(values[name], low) for name, low in lowest.items()})


def _syllables(text: str) -> list[str]:
    known = {consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS}
    syllables = text.split()
    if not syllables or not known.issuperset(syllables):
        raise InputError(f"the text {text!r} is not made of syllables such as {SENTENCES[0]!r}")
    return syllables


def _score(syllables: list[str], style: EmotionStyle, voice: Voice, rng: np.random.Generator) -> _Score:
    seconds, tracks = _segments(syllables, style, voice, rng)
    steps = np.maximum(1, np.round(seconds / _STEP_SECONDS)).astype(int)
    tracks = _smooth(np.repeat(tracks, steps, axis=0))  # (steps, 9)
    time = np.linspace(-0.5, 0.5, len(tracks))
    jitter = 1 + style.jitter / 100 * rng.standard_normal(len(tracks))
    semitones = style.pitch + style.pitch_slope * time + tracks[:, 0]
    return _Score(
        pitch_hz=voice.pitch_hz * 2 ** (semitones / 12) * jitter,
        formants_hz=tracks[:, 1:5] * voice.formant_scale,
        voice_db=tracks[:, 5],
        noise_db=tracks[:, 6],
        noise_hz=tracks[:, 7],
    )


def _segments(
    syllables: list[str], style: EmotionStyle, voice: Voice, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths in seconds, and targets: accent, four formants, voice dB, noise dB, noise centre."""
    silence = [0.06, 0.0, *_VOWELS["a"], -80.0, -80.0, 2000.0]
    rows = [silence]
    for index, (consonant, vowel) in enumerate(syllables):
        length = rng.uniform(0.85, 1.15) / (style.pace * voice.syllables_per_second)
        accent = style.pitch_range * ((0.7 if index % 2 == 0 else -0.7) + 0.5 * rng.standard_normal())
        stress = 1.5 * (index % 2 == 0) + rng.standard_normal()
        voicing, noise, centre = _CONSONANTS[consonant]
        rows.append([0.3 * length, accent, *_VOWELS[vowel], voicing + stress, noise + stress, centre])
        rows.append([0.7 * length, accent, *_VOWELS[vowel], stress, -80.0, centre])
        if rng.random() < style.pauses:
            rows.append([rng.uniform(0.06, 0.14), *silence[1:]])
    table = np.array([*rows, silence])
    return table[:, 0] * np.clip(table[:, 0].sum(), 1.03, 1.95) / table[:, 0].sum(), table[:, 1:]


def _smooth(tracks: np.ndarray) -> np.ndarray:
    """Articulators take about 50 ms to move."""
    kernel = np.hanning(7)[1:-1]
    padded = np.pad(tracks, ((2, 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
    return windows @ (kernel / kernel.sum())


def _glottal_source(score: _Score, sample_rate: int) -> np.ndarray:
    """Derivative of the glottal flow (Klatt & Klatt 1990, KLGLOTT88), open for 60 % of each period."""
    hop = round(_STEP_SECONDS * sample_rate)
    steps = np.arange(len(score.pitch_hz))
    pitch = np.interp(np.arange(len(steps) * hop) / hop, steps, score.pitch_hz)
    phase = np.cumsum(pitch / sample_rate) % 1.0
    flow = np.where(phase < 0.6, phase**2 * (1 - phase / 0.6), 0.0)
    # The difference of the flow, not its derivative's formula: that one aliases at low rates.
    return np.diff(flow, prepend=0.0) * sample_rate / pitch


def _filter(
    source: np.ndarray, noise: np.ndarray, score: _Score, timbre: tuple[float, float], sample_rate: int
) -> np.ndarray:
    """Source and noise through the moving vocal tract, as gains on short-time spectra."""
    tilt_db, breath_db = timbre
    hop = round(_STEP_SECONDS * sample_rate)
    hz = np.fft.rfftfreq(4 * hop, 1 / sample_rate)
    octaves = np.log2(np.maximum(hz, 500.0) / 500.0)
    tract = _tract_gain(score.formants_hz, hz) * _from_db(score.voice_db)[:, None]
    hiss = np.exp(-2 * np.log2(np.maximum(hz, 50.0) / score.noise_hz[:, None]) ** 2)
    hiss *= _from_db(score.noise_db)[:, None]
    voiced = _spectra(source, hop) * tract * _from_db((tilt_db - 3.0) * octaves)
    return _overlap_add(voiced + _spectra(noise, hop) * (tract * _from_db(breath_db - 46.0) + hiss), hop)


def _tract_gain(formants_hz: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Product of the formants' resonances (Fant 1960), shape (steps, bins)."""
    gain = np.ones((len(formants_hz), len(hz)))
    for centre, half_width in zip(formants_hz.T[..., None], _BANDWIDTHS_HZ / 2, strict=True):
        below, above = (hz - centre) ** 2 + half_width**2, (hz + centre) ** 2 + half_width**2
        gain *= (centre**2 + half_width**2) / np.sqrt(below * above)
    return gain


def _spectra(signal: np.ndarray, hop: int) -> np.ndarray:
    """Spectra of 20 ms windows, one every 10 ms, padded to twice their length: (steps, 2 * hop + 1)."""
    padded = np.pad(signal, hop)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[: len(signal) : hop]
    return np.fft.rfft(windows * np.hanning(2 * hop + 1)[:-1], 4 * hop)


def _overlap_add(spectra: np.ndarray, hop: int) -> np.ndarray:
    blocks = np.fft.irfft(spectra, 4 * hop).reshape(len(spectra), 4, hop)
    out = np.zeros((len(spectra) + 3, hop))
    for shift in range(4):
        out[shift : shift + len(spectra)] += blocks[:, shift]
    return out[1 : 1 + len(spectra)].ravel()


def _white_noise(num_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Of the same power in each hertz whatever the rate; of variance 1 at 16 kHz."""
    return rng.standard_normal(num_samples) * np.sqrt(sample_rate / 16000)


def _record(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Through a microphone that ends at 7 kHz, so that no speaker is told by the recorder's rate."""
    hz = np.fft.rfftfreq(len(sound), 1 / sample_rate)
    return np.fft.irfft(np.fft.rfft(sound) / (1 + (hz / 7000) ** 48), len(sound))


def _mix(speech: np.ndarray, room: np.ndarray, level_db: float) -> np.ndarray:
    """Speech at this level (dB of full scale, rms) in a quiet room, its peak kept below full scale."""
    signal = speech * _from_db(level_db) / np.sqrt(np.mean(speech**2)) + room * _from_db(-66.0)
    return (signal * min(1.0, _PEAK / np.abs(signal).max())).astype(np.float32)


def _from_db(decibels: np.ndarray | float) -> np.ndarray | float:
    return 10.0 ** (np.asarray(decibels) / 20)
