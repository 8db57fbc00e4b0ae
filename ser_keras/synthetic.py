"""A small synthetic corpus of speech-like clips, for tests, demonstrations and a first run without data.

Each speaker has a voice of their own, and each emotion a style; `ser_keras.corpora.synthesis` makes the sound.
A score on this corpus shows that the pipeline works, and nothing about real speech.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ser_keras.audio_io.sound_files import encode_wav
from ser_keras.corpora.synthesis import SENTENCES, STYLES, check_emotions, draw_voice, synthesize_clip
from ser_keras.errors import InputError, require
from ser_keras.files import whole_directory, write_bytes, write_csv

PARAMETERS_FILE = "synthetic.json"

_FORMAT = 2  # one higher whenever the same seed gives other clips
_RECORDERS = ((48000, (1.1, 0.9)), (16000, (1.0,)), (16000, (1.0,)), (22050, (1.0,)))  # Hz, channel gains


def make_corpus(
    directory: str | Path,
    *,
    num_speakers: int = 8,
    clips_per_emotion: int = 6,
    emotions: Sequence[str] = tuple(STYLES),
    seed: int = 0,
) -> Path:
    """Write a corpus of synthetic speech, 1 to 2 s a clip, with a `manifest.csv` that names every clip.

    Women and men take turns. Of each four speakers the third is recorded at 22.05 kHz and the fourth in
    stereo at 48 kHz, the others at 16 kHz; all of it is 16-bit WAV. The folder appears whole or not at
    all; one that already holds the same corpus is left as it is.

    Args:
        directory: The folder to write; it must not exist, be empty, or hold the same corpus.
        num_speakers: Number of speakers, 1 or more; three or more can be split by speaker.
        clips_per_emotion: Clips of each emotion that each speaker utters, 1 or more.
        emotions: Names out of `STYLES`.
        seed: The same seed gives the same files, byte for byte.

    Returns:
        The folder.

    Raises:
        InputError: The folder holds something else, an emotion has no style, or a number is below 1.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> corpus = make_corpus(folder / "synthetic", num_speakers=1, clips_per_emotion=1, emotions=("sad",))
        >>> sorted(path.relative_to(corpus).as_posix() for path in corpus.rglob("*.*"))
        ['01/01_sad_1.wav', 'manifest.csv', 'synthetic.json']
    """
    directory = Path(directory)
    require(num_speakers > 0, "num_speakers", num_speakers, "1 or more")
    require(clips_per_emotion > 0, "clips_per_emotion", clips_per_emotion, "1 or more")
    check_emotions(emotions)
    counts = {"num_speakers": num_speakers, "clips_per_emotion": clips_per_emotion}
    parameters = {"format": _FORMAT, **counts, "emotions": list(emotions), "seed": seed}
    if not _holds(directory, parameters):
        if directory.exists():
            directory.rmdir()  # it is empty
        with whole_directory(directory) as part:
            rows = list(_write_clips(part, parameters))
            write_csv(part / "manifest.csv", ("path", "emotion", "speaker", "gender", "text"), rows)
            (part / PARAMETERS_FILE).write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")
    return directory


def _holds(directory: Path, parameters: dict) -> bool:
    """Whether the folder holds this very corpus; anything else in it is an error."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    try:
        found = json.loads((directory / PARAMETERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != parameters:
        content = f"a synthetic corpus of {found}, not of {parameters}" if found else "something else"
        raise InputError(f"{directory} holds {content} already: name a new or an empty folder")
    return True


def _write_clips(corpus: Path, parameters: dict) -> Iterator[tuple[str, ...]]:
    for speaker in range(1, parameters["num_speakers"] + 1):
        gender = "female" if speaker % 2 else "male"
        voice = draw_voice(gender, np.random.default_rng((parameters["seed"], speaker)))
        (corpus / f"{speaker:02d}").mkdir()
        for emotion in parameters["emotions"]:
            for take in range(1, parameters["clips_per_emotion"] + 1):
                name = f"{speaker:02d}/{speaker:02d}_{emotion}_{take}.wav"
                text = SENTENCES[take % len(SENTENCES)]
                # Each clip has a seed of its own, so that a larger corpus contains the smaller one.
                rng = np.random.default_rng((parameters["seed"], speaker, list(STYLES).index(emotion), take))
                sample_rate, channel_gains = _RECORDERS[speaker % 4]
                clip = synthesize_clip(emotion, voice, rng, text=text, sample_rate=sample_rate)
                stereo = np.outer(clip, channel_gains)  # (time, channels)
                write_bytes(corpus / name, encode_wav(stereo, sample_rate, subtype="PCM_16"))
                yield name, emotion, f"{speaker:02d}", gender, text
