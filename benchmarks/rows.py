"""The rows of `make bench`: what each has to reach, on how many cores, and where it is measured.

A row's function takes nothing and returns one `Measured` for each of its lines. It is imported where it
runs: in a process of its own, after that has been bound to its cores.
"""

from dataclasses import dataclass

from lines import Target


@dataclass(frozen=True)
class Row:
    """One measurement, of one or more lines; `function` is its module and name."""

    function: str
    cores: int
    targets: tuple[Target, ...]


ROWS = {
    "log-mel": Row(
        "rows_audio:log_mel",
        1,
        (
            Target("log-mel of 32 clips of 3 s", must=6, aim=12),
            Target("the same, by XLA", must=6, aim=12),
        ),
    ),
    "wav": Row("rows_audio:wav_to_16_khz", 1, (Target("WAV bytes at 48 kHz to 16 kHz, 3 s", must=1, aim=2),)),
    "files": Row(
        "rows_files:corpus_to_batches",
        2,
        (
            Target("files to batches, no cache yet"),
            Target("the same, against a pool", must=2),
            Target("the same, against the disk's limit", "share", aim=100),
        ),
    ),
    "files-48k": Row(
        "rows_files:studio_files_to_batches",
        2,
        (
            Target("48 kHz files to batches, no cache yet"),
            Target("the same, against a pool", must=1.5, aim=3),
            Target("the same, against the disk's limit", "share", aim=100),
        ),
    ),
    "step": Row("rows_training:step", 2, (Target("one training step, 32 clips of 3 s", must=6, aim=12),)),
    "epoch": Row("rows_training:epoch", 2, (Target("an epoch from the cache", "share", must=95, aim=99),)),
    "peak": Row("rows_training:share_of_peak", 2, (Target("multiply-adds of the step", "share", must=40, aim=60),)),
    "clip": Row(
        "rows_serving:one_clip",
        1,
        (
            Target("one clip of 3 s, SavedModel, p50", "milliseconds", aim=5),
            Target("the same, p99", "growth", must=3),
            Target("the same, p50, against YAMNet's size"),
            Target("the same, p50, against Model.predict"),
        ),
    ),
    "batch": Row("rows_serving:batch", 2, (Target("32 clips of 3 s, SavedModel", must=5, aim=10),)),
    "memory": Row(
        "rows_memory:growth", 2, (Target("peak memory, corpus ten times over", "growth", must=1.1, aim=1.01),)
    ),
    "import": Row("rows_start:import_time", 1, (Target("import ser_keras", "seconds", must=0.3),)),
    "help": Row("rows_start:help_time", 1, (Target("python -m ser_keras.train --help", "seconds", must=0.5),)),
}
