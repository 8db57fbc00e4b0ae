"""What takes too long for the test suite: `make stress`. Each trial runs in a process of its own."""

import argparse
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import broken_corpus
import numpy as np
from clusters import exit_codes, printed_lines, start_workers

from ser_keras.config import ModelConfig
from ser_keras.files import read_csv
from ser_keras.model import load_model
from ser_keras.synthetic import make_corpus
from ser_keras.training.checkpoints import read_checkpoint

TINY = ModelConfig(
    conv_filters=(8, 16),
    conv_kernels=(5, 3),
    conv_strides=(2, 1),
    conv_time_pools=(2, 2),
    conv_band_pools=(2, 2),
    lstm_units=8,
    attention_units=8,
)


ALONE = ("--fusion-weight", "0")


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


def few_clips(folder, num_speakers=3, clips_per_emotion=2):
    emotions = ("neutral", "sad", "angry")
    return make_corpus(
        folder / "corpus", num_speakers=num_speakers, clips_per_emotion=clips_per_emotion, emotions=emotions
    )


def trial_broken_corpus(folder, options):
    """One file in twenty is broken, in twenty ways."""
    corpus, num_files = folder / "corpus", options.files
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


def trial_full_disk(folder, options):
    """The disk under a run directory cannot be written, or is full sooner or later; with room again the run goes on."""
    if os.geteuid() != 0:
        print("  left out: small disks can be mounted by root only")
        return
    corpus = few_clips(folder)
    words = ("--batch-size", "4")
    with disk_of(folder / "read_only", "size=64m,ro") as disk:
        print(f"  read-only: {check_end(train(corpus, disk / 'run', *words)[0], disk)}")
    for size_kb in DISK_SIZES_KB:
        with disk_of(folder / f"disk_{size_kb}", f"size={size_kb}k") as disk:
            done, _ = train(corpus, disk / "run", *words)
            print(f"  {size_kb:>6} kB: {check_end(done, disk)}", flush=True)
            if done.returncode:
                subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
                done, _ = train(corpus, disk / "run", *words, "--resume")
                if done.returncode:
                    raise AssertionError(
                        f"with room again it ended with code {done.returncode}: {done.stderr[-2_000:]}"
                    )
                print(f"{'':>13}with room again, --resume: {check_end(done, disk)}", flush=True)


@contextmanager
def disk_of(folder, options):
    """A disk in memory, mounted at a new folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def check_end(done, disk):
    """Raise unless a run ended well, or with one line that names the disk, and left nothing that is half written."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("warning: ", "Decoding"))]
    if done.returncode not in (0, 2) or (done.returncode == 2 and (len(lines) != 1 or str(disk) not in lines[0])):
        raise AssertionError(f"code {done.returncode}: {done.stderr[-2_000:]}")
    check_files(disk / "run")
    left = ", ".join(sorted(path.name for path in (disk / "run").glob("[!.]*"))) or "nothing"
    return f"{lines[0] if done.returncode else 'done'}; left: {left}"


def check_files(run):
    """Raise unless every file of a run is whole; those with a dot in front are nobody's."""
    for path in run.rglob("[!.]*"):
        match path.suffix:
            case ".keras":
                load_model(path)
            case ".npz":
                read_checkpoint(path)
            case ".json":
                json.loads(path.read_text())
            case ".csv" if path.parent == run:
                read_csv(path)


def trial_killed(folder, options):
    """Runs of train and crossval get SIGKILL, and now and then SIGTERM, at random moments, and go on each time."""
    corpus = few_clips(folder, num_speakers=4)
    words = ["--epochs", "6", "--batch-size", "4", *flags(TINY)]
    kill(folder / "train", ["train", "--dataset-path", str(corpus), *words], options, compare_runs)
    folds = ["--protocol", "folds", "--num-folds", "2", "--seeds", "0"]
    kill(folder / "crossval", ["crossval", "--dataset-path", str(corpus), *folds, *words], options, compare_folds)


def kill(folder, words, options, compare):
    """Run a command until it has been killed often enough, in a new directory whenever it came to its end."""
    chance = random.Random(options.seed)
    whole, seconds, _ = run_for(folder / "whole", words)
    if whole:
        raise AssertionError(f"{words[0]} ended with code {whole}")
    signals = [signal.SIGKILL] * options.kills + [signal.SIGTERM] * (options.kills // 4)
    chance.shuffle(signals)
    ends, killed, epochs = 0, 0, []
    while signals or killed:
        run = folder / f"run_{ends}"
        wait = chance.uniform(0.2, 1.0) * seconds if signals else None
        code, took, begun = run_for(run, [*words, "--resume"], wait, signals[-1] if signals else None)
        if begun and epochs and begun[0] < epochs[-1]:
            raise AssertionError(f"epoch {begun[0]} was trained again after {epochs[-1]}")
        epochs = begun or epochs
        if code == 0:
            print(f"  {words[0]}: stopped {killed} times: {compare(folder / 'whole', run)}", flush=True)
            seconds = seconds if killed else took  # the machine may have less to do by now
            ends, killed, epochs = ends + 1, 0, []
            continue
        if code not in (-signal.SIGKILL, -signal.SIGTERM, 130):  # SIGTERM ends a process that is still importing
            raise AssertionError(f"{words[0]} ended with code {code}: {(folder / 'errors').read_text()[-2_000:]}")
        signals.pop()
        killed += 1
        if run.exists():
            check_files(run)


def run_for(run, words, seconds=None, number=None):
    """Run a command, for some time at most; return exit code, seconds, and the epochs that it began."""
    command = [sys.executable, "-m", "ser_keras", *words, "--output-dir", str(run)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    started, output = time.monotonic(), run.parent / "output"
    run.parent.mkdir(exist_ok=True)
    with output.open("w") as out, (run.parent / "errors").open("w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=errors)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            process.wait()
    epochs = [int(epoch) for epoch in re.findall(r"^Epoch (\d+)/", output.read_text(), flags=re.MULTILINE)]
    return process.returncode, time.monotonic() - started, epochs


def compare_runs(run, other):
    for name in ("metrics.json", "history.csv", "predictions.csv", "split.csv"):
        if (run / name).read_bytes() != (other / name).read_bytes():
            raise AssertionError(f"{other / name} differs")
    weights = [load_model(each).get_weights() for each in (run, other)]
    if not all(np.array_equal(ours, theirs) for ours, theirs in zip(*weights, strict=True)):
        raise AssertionError("the weights differ")
    if names_in(run) != names_in(other):
        raise AssertionError(f"{names_in(other)} where {names_in(run)} should be")
    return "the same weights, bit for bit, scores and predictions as the run that was left alone"


def compare_folds(run, other):
    for name in ("predictions.csv", "folds.csv", "config.json"):
        if (run / name).read_bytes() != (other / name).read_bytes():
            raise AssertionError(f"{other / name} differs")
    if names_in(run / "folds") != names_in(other / "folds"):
        raise AssertionError(f"{names_in(other / 'folds')} where {names_in(run / 'folds')} should be")
    return "the same folds and predictions as the run that was left alone"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def trial_threads(folder, options):
    """The same seed by one, two and four threads; the network alone: the functionals branch is the same anyhow."""
    corpus = few_clips(folder, num_speakers=8, clips_per_emotion=8)
    scores, splits = {}, set()
    for threads in ("1", "2", "4"):
        os.environ["TF_NUM_INTRAOP_THREADS"] = threads
        done, _ = train(corpus, folder / threads, "--epochs", "10", "--batch-size", "16", *ALONE)
        if done.returncode:
            raise AssertionError(f"training ended with code {done.returncode}: {done.stderr[-1_000:]}")
        scores[threads] = json.loads((folder / threads / "metrics.json").read_text())["unweighted_average_recall"]
        splits.add((folder / threads / "split.csv").read_bytes())
    del os.environ["TF_NUM_INTRAOP_THREADS"]
    if len(splits) > 1 or max(scores.values()) - min(scores.values()) > 0.005:
        raise AssertionError(f"{len(splits)} splits; UAR by threads: {scores}")
    weights = [np.concatenate([each.ravel() for each in load_model(folder / each).get_weights()]) for each in scores]
    largest = max(np.abs(each - weights[0]).max() for each in weights)
    print(f"  one split; UAR by threads: {scores}; largest difference of a weight: {largest:.1e}")


def trial_lost_worker(folder, options):
    """Of three workers one is killed, then the chief; the others end with one line, and go on with --resume."""
    corpus = few_clips(folder, num_speakers=4, clips_per_emotion=4)
    command = [sys.executable, "-m", "ser_keras", "train", "--strategy", "multiworker", "--dataset-path", str(corpus)]
    command += ["--epochs", "8", "--batch-size", "7", *flags(TINY), "--resume", "--output-dir"]
    check_codes(folder / "0", start_workers([*command, folder / "whole"], 3, folder / "0"), [0, 0, 0])
    for number, victim in enumerate((1, 0), start=1):
        log = folder / str(number)
        workers = start_workers([*command, folder / "stopped"], 3, log)
        wait_for_epoch(3 * number, log / f"{victim}.out", workers)
        workers[victim].kill()
        started = time.monotonic()
        check_codes(log, workers, [-signal.SIGKILL if index == victim else 75 for index in range(3)])
        (line,) = {line for index in range(3) if index != victim for line in printed_lines(log, index)}
        print(f"  worker {victim} killed; {time.monotonic() - started:.0f} s later the others said: {line}", flush=True)
    check_codes(folder / "3", start_workers([*command, folder / "stopped"], 3, folder / "3"), [0, 0, 0])
    print(f"  {compare_runs(folder / 'whole', folder / 'stopped')}")


def wait_for_epoch(number, output, workers):
    """Wait until a worker has begun an epoch."""
    while f"Epoch {number}/" not in output.read_text():
        if any(worker.poll() is not None for worker in workers):
            raise AssertionError(f"a worker ended before epoch {number}; see {output.parent}")
        time.sleep(0.2)


def check_codes(log, workers, expected):
    codes = exit_codes(workers, 3_600)
    if codes != expected:
        errors = "\n".join(path.read_text()[-2_000:] for path in sorted(log.glob("*.err")))
        raise AssertionError(f"the workers ended with {codes}, not {expected}:\n{errors}")


DISK_SIZES_KB = (4, 16, 64, 256, 1_024, 4_096, 16_384)
TRIALS = {
    "broken corpus": trial_broken_corpus,
    "full disk": trial_full_disk,
    "killed": trial_killed,
    "threads": trial_threads,
    "lost worker": trial_lost_worker,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, metavar="N", help="of the corpus (default: 10000)")
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="of each verb (default: 20)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")
    parser.add_argument("--only", choices=TRIALS, help="one trial")
    options = parser.parse_args()
    for name, trial in TRIALS.items():
        if options.only in (None, name):
            print(f"{name}: {trial.__doc__}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                trial(Path(folder), options)


if __name__ == "__main__":
    main()
