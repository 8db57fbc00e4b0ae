"""Mutated WAV files through an exported model: `make fuzz`, and a shorter run in test_fuzz.py.

Every batch holds one good clip among broken ones. Nothing may be raised, the process must live, and the
good clip must get the answer that it gets alone.
"""

import argparse
import io
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import soundfile
import tensorflow as tf

BATCH_SIZE = 64
TOLERANCE = 1e-5
ENCODINGS = [
    *(("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM")),
    *(("WAVEX", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT")),
    ("RF64", "PCM_16"),
]
EXTREMES = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
EXPORT = """
import sys
from ser_keras.export import export_model
from ser_keras.labels import EMOTIONS
from ser_keras.model import ParallelModel
export_model(ParallelModel(8, emotions=EMOTIONS[:8]), sys.argv[1])
"""


class Fuzzer:
    """Makes broken files from good ones, the same ones for the same seed."""

    def __init__(self, seed=0):
        self._random = np.random.default_rng(seed)
        self._seeds = [self._clip(*encoding) for encoding in ENCODINGS for _ in range(4)]
        # With 4,000 Hz written into their headers these last minutes.
        self._long_seeds = [self._clip("WAV", "PCM_U8", seconds, rate=96_000) for seconds in (15, 30)]

    def good(self):
        """A clip that nothing is wrong with."""
        samples = np.random.default_rng(1).normal(size=16_000) * 0.1
        file = io.BytesIO()
        soundfile.write(file, samples, 16_000, format="WAV", subtype="PCM_16")
        return file.getvalue()

    def mutant(self):
        """A file that one to three things were done to."""
        content = self._seed()
        for _ in range(self._choose([1, 1, 1, 1, 2, 3])):
            content = self._choose(self._mutations())(content)
        return content

    def _mutations(self):
        return [self._flip_bits, self._truncate, self._write_extreme, self._shuffle_chunks, self._splice, self._insert]

    def _clip(self, container, subtype, seconds=None, rate=None):
        rate = rate or int(self._choose([4_000, 8_000, 11_025, 16_000, 24_414, 44_100, 48_000, 96_000]))
        channels = int(self._choose([1, 2] if "ADPCM" in subtype else [1, 1, 2, 6]))
        num_samples = int(rate * (seconds or self._random.uniform(0.1, 0.4)))
        samples = self._random.normal(size=(num_samples, channels)) * 0.1
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        return _without_time(file.getvalue())

    def _choose(self, values):
        return values[self._random.integers(len(values))]

    def _seed(self):
        return self._choose(self._long_seeds if self._random.random() < 0.002 else self._seeds)

    def _place(self, content, headers_only=True):
        """An offset, mostly in the headers, where a file is easiest to hurt."""
        limit = 80 if headers_only or self._random.random() < 0.5 else len(content)
        return int(self._random.integers(max(min(limit, len(content)), 1)))

    def _flip_bits(self, content):
        flipped = bytearray(content)
        for _ in range(self._random.integers(1, 9)):
            if flipped:
                flipped[self._place(flipped, headers_only=False)] ^= 1 << int(self._random.integers(8))
        return bytes(flipped)

    def _truncate(self, content):
        return content[: self._place(content, headers_only=self._random.random() < 0.3)]

    def _write_extreme(self, content):
        """A field of the header, of two or four bytes, at its extreme."""
        size = int(self._choose([2, 4]))
        place = int(self._choose([4, 16, 20, 22, 24, 28, 32, 34, 36, 40, self._place(content)]))
        value = struct.pack("<I", int(self._choose(EXTREMES)))[:size]
        return content[:place] + value + content[place + size :]

    def _shuffle_chunks(self, content):
        chunks, offset = [], 12
        while offset + 8 <= len(content) and len(chunks) < 20:
            end = offset + 8 + int.from_bytes(content[offset + 4 : offset + 8], "little")
            chunks.append(content[offset : end + end % 2])
            offset = end + end % 2
        chunks += [self._choose(chunks)] if chunks else []
        return content[:12] + b"".join(chunks[index] for index in self._random.permutation(len(chunks)))

    def _splice(self, content):
        """The head of one file on the body of another, of another format."""
        other = self._seed()
        return content[: self._place(content)] + other[self._place(other) :]

    def _insert(self, content):
        place = self._place(content)
        return content[:place] + self._random.bytes(int(self._random.integers(1, 40))) + content[place:]


def _without_time(content):
    """Zeros for the time of writing, which libsndfile keeps in the 'PEAK' chunk of float files."""
    place = content.find(b"PEAK") + 12
    return content if place < 12 else content[:place] + bytes(4) + content[place + 4 :]


def fuzz(ask, num_files, *, seed=0, say=lambda line: None):
    """Send broken files in batches, each with one good clip.

    Args:
        ask: function from a string tensor to the outputs of `serving_default`.
        num_files: how many broken files.
        seed: of the mutations.
        say: gets a line now and then.

    Returns:
        Largest difference of the good clip's probabilities from what it gets alone, and how many of the
        broken files were refused.
    """
    fuzzer = Fuzzer(seed)
    good = fuzzer.good()
    alone = ask(tf.constant([good]))
    random = np.random.default_rng(seed)
    worst, refused = 0.0, 0
    for start in range(0, num_files, BATCH_SIZE - 1):
        files = [fuzzer.mutant() for _ in range(min(BATCH_SIZE - 1, num_files - start))]
        place = int(random.integers(len(files) + 1))
        answer = ask(tf.constant([*files[:place], good, *files[place:]]))
        worst = max(worst, _check(answer, place, alone))
        refused += int(np.sum(answer["error"].numpy() != b""))
        if start // (BATCH_SIZE - 1) % 100 == 0:
            say(f"{start:>7} files, {refused} refused, largest difference of the good clip {worst:.2g}, {_peak()}")
    return worst, refused


def _check(answer, place, alone):
    """Raise unless the good clip got its answer, and every other one an answer or an error."""
    probabilities, errors = answer["probabilities"].numpy(), answer["error"].numpy()
    difference = float(np.abs(probabilities[place] - alone["probabilities"].numpy()[0]).max())
    if errors[place] != b"" or answer["label"][place] != alone["label"][0] or not difference <= TOLERANCE:
        raise AssertionError(f"the good clip differs by {difference}, error {errors[place]!r}")
    if not all(np.isfinite(value).all() for value in answer.values() if value.dtype.is_floating):
        raise AssertionError("an output is not finite")
    if not ((probabilities == 0).all(axis=1) == (errors != b"")).all():
        raise AssertionError("zeros without an error, or an error without zeros")
    for error in errors:
        error.decode("utf-8")  # REST could not send it otherwise
    return difference


def _peak():
    return f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB"


def main():
    parser = argparse.ArgumentParser(description="Send mutated WAV files through an exported model.")
    parser.add_argument("--model", metavar="DIR", help="exported version (default: an untrained one is made)")
    parser.add_argument("--files", type=int, default=100_000, metavar="N", help="how many (default: 100000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the mutations (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = options.model or Path(folder) / "1"
        if not options.model:  # in a process of its own: the memory that is measured is that of serving
            subprocess.run([sys.executable, "-c", EXPORT, str(directory)], check=True)
        loaded = tf.saved_model.load(str(directory))
    started = time.monotonic()
    signature = loaded.signatures["serving_default"]
    worst, refused = fuzz(lambda files: signature(audio_bytes=files), options.files, seed=options.seed, say=print)
    print(
        f"{options.files} mutated files in batches of {BATCH_SIZE}, {refused} refused, nothing raised; the good clip "
        f"of each batch differs by {worst:.2g} at most; {_peak()}; {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
