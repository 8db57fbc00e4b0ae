"""A corpus in which one file in twenty is broken, in twenty ways: test_broken_corpus.py, and `make stress`.

Every broken file has to be named with its reason in `rejected.csv`, and no other; those that are odd and
good have to be trained on.
"""

import csv
import io
import os
import struct
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
EMOTIONS = ("anger", "happiness", "sadness")  # as nEMO names its files, which contain the speaker as well
PITCHES = dict(zip(EMOTIONS, (300, 200, 120), strict=True))  # Hz
NUM_SPEAKERS = 20
BROKEN_SHARE = 0.05


def tone(emotion, seed, seconds=0.3):
    """Something to learn: a pitch for each emotion, in noise, no two clips alike."""
    random = np.random.default_rng(seed)
    time = np.arange(round(RATE * seconds)) / RATE
    pitch = PITCHES[emotion] * random.uniform(0.9, 1.1)
    return (0.2 * np.sin(2 * np.pi * pitch * time) + 0.02 * random.normal(size=len(time))).astype(np.float32)


def encoded(samples, format="WAV", subtype=None, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def with_field(content, place, layout, value):
    """A field of the WAV header, at its offset, set to something else."""
    return content[:place] + struct.pack(layout, value) + content[place + struct.calcsize(layout) :]


def padded_to_four_bytes(content):
    return with_field(content, 34, "<H", 24)


def with_sample(samples, value):
    spoilt = samples.copy()
    spoilt[len(spoilt) // 2] = value
    return encoded(spoilt, subtype="FLOAT")


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 96044\n"
BROKEN = {
    "empty": lambda samples: b"",
    "text": lambda samples: b"1234 5678 9.5\n" * 100,
    "HTML page": lambda samples: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "Git LFS pointer": lambda samples: LFS_POINTER,
    "zeros": lambda samples: bytes(20_000),
    "random bytes": lambda samples: np.random.default_rng(0).bytes(20_000),
    "cut in the header": lambda samples: encoded(samples)[:30],
    "cut before the data": lambda samples: encoded(samples)[:44],
    "cut by a third": lambda samples: encoded(samples)[: 44 + 2 * len(samples) * 2 // 3],
    "4 GB claimed, none there": lambda samples: with_field(encoded(samples)[:44], 40, "<I", 0xFFFFFFF0),
    "other magic": lambda samples: b"JUNK" + encoded(samples)[4:],
    "no channels": lambda samples: with_field(encoded(samples), 22, "<H", 0),
    "rate 0": lambda samples: with_field(encoded(samples), 24, "<I", 0),
    "rate 1 GHz": lambda samples: with_field(encoded(samples), 24, "<I", 10**9),
    "unknown encoding": lambda samples: with_field(encoded(samples), 20, "<H", 0x1234),
    "NaN": lambda samples: with_sample(samples, np.nan),
    "infinite": lambda samples: with_sample(samples, np.inf),
    "a constant offset": lambda samples: encoded(np.full_like(samples, 0.3), rate=48_000),
    "integers as floats": lambda samples: encoded(samples * 32_768, subtype="FLOAT"),
    "silent": lambda samples: encoded(np.zeros_like(samples)),
    "too short": lambda samples: encoded(samples[:800]),
    "cut FLAC": lambda samples: encoded(samples, "FLAC")[:60],
    "cut MP3": lambda samples: encoded(samples, "MP3")[:60],
    "cut Ogg": lambda samples: encoded(samples, "OGG")[:60],
    "folder": None,
    "link to nowhere": None,
    "link to itself": None,
    "pipe": None,
}
"""Content by the way in which it is broken; what is no file is made by `place_broken`."""

ODD = {
    "A-law": lambda samples: encoded(samples, subtype="ALAW"),
    "ADPCM": lambda samples: encoded(samples, subtype="IMA_ADPCM"),
    "FLAC called .wav": lambda samples: encoded(samples, "FLAC"),
    "MP3 called .wav": lambda samples: encoded(samples, "MP3"),
    "stereo of opposite phase": lambda samples: encoded(np.stack([samples, -samples], axis=1)),
    "stereo of 24 bits": lambda samples: encoded(np.stack([samples, samples], axis=1), subtype="PCM_24"),
    "streamed, 4 GB claimed": lambda samples: with_field(encoded(samples), 40, "<I", 0xFFFFFFFF),
    "24 bits in 4 bytes": lambda samples: padded_to_four_bytes(encoded(samples, subtype="PCM_32")),
    "ID3 tag in front": lambda samples: b"ID3\x04\0\0\0\0\x01\0" + bytes(128) + encoded(samples),
    "rubbish behind the data": lambda samples: encoded(samples) + b"\x00ID3 rubbish" * 9,
}
"""Content that is not as it should be, and good all the same."""


def make_broken_corpus(root, num_files):
    """Write a corpus, and return the kind of each broken or odd file by its path.

    Each way occurs equally often among `BROKEN_SHARE` of the files, at least once; so does each odd one.
    """
    num_each = max(1, round(num_files * BROKEN_SHARE / len(BROKEN)))
    kinds = [*BROKEN, *ODD] * num_each
    found = {}
    for number in range(num_files):
        speaker, emotion = number % NUM_SPEAKERS, EMOTIONS[number // NUM_SPEAKERS % len(EMOTIONS)]
        path = Path(root, f"{chr(65 + speaker)}A0_{emotion}_{number}.wav")
        samples = tone(emotion, number)
        kind = kinds.pop() if kinds else ""
        if kind in BROKEN:
            place_broken(path, kind, samples)
        else:
            path.write_bytes(ODD.get(kind, encoded)(samples))
        if kind:
            found[path] = kind
    return found


def place_broken(path, kind, samples):
    if kind == "folder":
        path.mkdir()
    elif kind == "link to nowhere":
        path.symlink_to("nowhere.wav")
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(BROKEN[kind](samples))


def check_run(run, root, kinds):
    """Raise unless the run rejected the broken files, each with a reason, and used all others.

    Returns:
        For each way of being broken the reason that was given.
    """
    ways = {path: kind for path, kind in kinds.items() if kind in BROKEN}
    reasons = {Path(row["path"]): row["reason"] for row in _rows(run / "rejected.csv")}
    used = {Path(row["path"]) for row in _rows(run / "split.csv")}
    wrong = {path.name: ways.get(path, "good") for path in reasons.keys() ^ ways.keys()}
    if wrong:
        raise AssertionError(f"rejected or used by mistake: {wrong}")
    if not all(reasons.values()):
        raise AssertionError(f"no reason for {[path.name for path, reason in reasons.items() if not reason]}")
    if used != set(Path(root).iterdir()) - ways.keys():
        raise AssertionError("the files of split.csv are not all the good ones")
    return {way: reasons[path] for path, way in ways.items()}


def _rows(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))
