"""What takes too long for the test suite: `make stress`. Each trial runs in a process of its own."""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import broken_corpus

from ser_keras.config import ModelConfig
from ser_keras.model import load_model
from ser_keras.synthetic import make_corpus

TINY = ModelConfig(
    conv_filters=(8, 16),
    conv_kernels=(5, 3),
    conv_strides=(2, 1),
    conv_time_pools=(2, 2),
    conv_band_pools=(2, 2),
    lstm_units=8,
    attention_units=8,
)


def flags(config):
    """The settings of a network as words of the command line."""
    values = {name: value if isinstance(value, list) else [value] for name, value in config.to_dict().items()}
    return [word for name, value in values.items() for word in ("--" + name.replace("_", "-"), *map(str, value))]


def train(corpus, run, *words):
    """Train a tiny network for an epoch, and return the finished process and its seconds."""
    command = [sys.executable, "-m", "ser_keras.train", "--dataset-path", str(corpus), "--output-dir", str(run)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--epochs", "1", *flags(TINY), *words], env=environment, capture_output=True, text=True, check=False
    )
    return done, time.monotonic() - started


def trial_broken_corpus(folder, num_files):
    """One file in twenty is broken, in twenty ways."""
    corpus = folder / "corpus"
    corpus.mkdir()
    kinds = broken_corpus.make_broken_corpus(corpus, num_files)
    done, seconds = train(corpus, folder / "run")
    if done.returncode:
        raise AssertionError(f"training ended with code {done.returncode}: {done.stderr[-1_000:]}")
    reasons = broken_corpus.check_run(folder / "run", corpus, kinds)
    for way, reason in reasons.items():
        print(f"  {way:<26} {reason}")
    num_broken = sum(kind in broken_corpus.BROKEN for kind in kinds.values())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"  {num_files} files, {num_broken} broken in {len(reasons)} ways: each is in rejected.csv with its reason, "
        f"and no good one; {seconds:.0f} s, peak memory {peak:.2f} GB"
    )


def trial_full_disk(folder, num_files):
    """The disk under a run directory is full sooner or later."""
    if os.geteuid() != 0:
        print("  left out: small disks can be mounted by root only")
        return
    corpus = make_corpus(folder / "corpus", num_speakers=3, clips_per_emotion=2, emotions=("neutral", "sad", "angry"))
    for size_kb in DISK_SIZES_KB:
        disk = folder / f"disk_{size_kb}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            done, _ = train(corpus, disk / "run", "--batch-size", "4")
            print(f"  {size_kb:>6} kB: {check_end(done, disk)}", flush=True)
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def check_end(done, disk):
    """Raise unless a run ended well, or with one line that names the disk, and left nothing that is half written."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("warning: ", "Decoding"))]
    if done.returncode not in (0, 2) or (done.returncode == 2 and (len(lines) != 1 or str(disk) not in lines[0])):
        raise AssertionError(f"code {done.returncode}: {done.stderr[-2_000:]}")
    if (model := disk / "run" / "model.keras").exists():
        load_model(model)
    for name in ("config.json", "metrics.json", "environment.json"):
        if (disk / "run" / name).exists():
            json.loads((disk / "run" / name).read_text())
    left = ", ".join(sorted(path.name for path in (disk / "run").glob("[!.]*"))) or "nothing"
    return f"{lines[0] if done.returncode else 'done'}; left: {left}"


DISK_SIZES_KB = (4, 16, 64, 256, 1_024, 4_096, 16_384)
TRIALS = {"broken corpus": trial_broken_corpus, "full disk": trial_full_disk}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, metavar="N", help="of the corpus (default: 10000)")
    parser.add_argument("--only", choices=TRIALS, help="one trial")
    options = parser.parse_args()
    for name, trial in TRIALS.items():
        if options.only in (None, name):
            print(f"{name}: {trial.__doc__}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                trial(Path(folder), options.files)


if __name__ == "__main__":
    main()
