"""`make breakdown`: which operations take the time of a training step, a served batch, a served clip.

By TensorFlow's profiler, on one core, where no two operations overlap, so that the milliseconds add up. It leaves out
the smallest operations; they, and what lies between all of them, are the difference to the time of the whole call.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from timing import limit_cores, medians

CALLS = 10
LINES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[2].strip().partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), help="some of them only")
    chosen = parser.parse_args().only
    limit_cores(1)
    for name in chosen:
        run = SUBJECTS[name]()
        whole, *_ = medians(run)
        print(f"{name}: {whole * 1e3:.1f} ms a call", *_lines(_durations(run)), "", sep="\n", flush=True)


def _training_step() -> Callable[[], object]:
    import ours

    return ours.training_step(ours.batch_of_noise(32))


def _served(size: int) -> Callable[[], Callable[[], object]]:
    def make():
        import ours
        import tensorflow as tf
        from clips import wav

        serve, contents = ours.served(ours.build()), tf.constant([wav()] * size)
        return lambda: serve(audio_bytes=contents)

    return make


SUBJECTS = {"step": _training_step, "batch": _served(32), "clip": _served(1)}


def _durations(run: Callable[[], object]) -> dict[str, list[float]]:
    """Return the milliseconds of each operation of each type, over all calls."""
    import tensorflow as tf

    durations: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(CALLS):
                run()
        for kind, milliseconds in _events(next(Path(folder).rglob("*.xplane.pb"))):
            durations.setdefault(kind, []).append(milliseconds)
    return durations


def _events(file: Path) -> Iterator[tuple[str, float]]:
    """Yield the type and the duration of every operation that ran; the profiler calls them `name:Type`."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # no public reader comes with TensorFlow

    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    for plane in space.planes:
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            name, _, kind = names[event.metadata_id].rpartition(":")
            if name and kind.removeprefix("_").isidentifier() and not name.endswith(":"):
                yield kind, event.duration_ps / 1e9


def _lines(durations: dict[str, list[float]]) -> Iterator[str]:
    totals = Counter({kind: sum(each) / CALLS for kind, each in durations.items()})
    for kind, milliseconds in totals.most_common(LINES):
        yield f"{milliseconds:8.2f} ms in {len(durations[kind]) / CALLS:5.0f}  {kind}"
    count = sum(map(len, durations.values())) / CALLS
    yield f"{totals.total():8.2f} ms in {count:5.0f}  all of these, and rarer ones"


if __name__ == "__main__":
    main()
