"""Score any number of recordings with Apache Beam: on this machine, on Dataflow, Spark or Flink.

Needs ``pip install 'ser-keras[beam]'``.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.fileio import ReadableFile
from apache_beam.io.filesystems import FileSystems
from apache_beam.utils.shared import Shared

from ser_keras.inference import Predictor
from ser_keras.predictions import Prediction

BATCH_SIZE = 32
"""Most files in a batch."""


class ScoreEmotion(beam.PTransform):
    """Predict the emotion of each recording; the input comes from `fileio.ReadMatches`.

    Each process of a worker loads the SavedModel once for all of its threads. The files and the model may be wherever
    Beam can read (`gs://`, `s3://`, `hdfs://`, ...).

    The output ``predictions`` has dictionaries of `file`, `label`, `confidence` and `probabilities`, as
    `Predictor.predict` returns them; ``errors`` has dictionaries of `file` and `error`, for files that cannot
    be used. A bad file does not affect others and does not stop the pipeline.

    Args:
        model: the directory of an export, as `export_model` returned it.
        max_batch_size: most files in a batch.

    Raises:
        InputError: within the pipeline, on its first batch: there is no export in `model`.

    Example:
        ```python
        with beam.Pipeline(options=options) as pipeline:
            files = pipeline | fileio.MatchFiles("gs://calls/2024/**.flac") | fileio.ReadMatches()
            scored = files | ScoreEmotion("gs://models/ser/1")
            scored.predictions | beam.Map(json.dumps) | beam.io.WriteToText("gs://calls/emotions")
            scored.errors | "Dead letters" >> beam.io.WriteToText("gs://calls/bad_files")
        ```
    """

    def __init__(self, model: str | Path, *, max_batch_size: int = BATCH_SIZE):
        super().__init__()
        self._model = str(model)
        self._max_batch_size = max_batch_size

    def expand(self, files: beam.PCollection[ReadableFile]) -> beam.pvalue.DoOutputsTuple:
        """Put files into batches and score them."""
        batches = files | beam.BatchElements(max_batch_size=self._max_batch_size)
        return batches | beam.ParDo(_Score(self._model)).with_outputs("errors", main="predictions")


class _Score(beam.DoFn):
    """Scores a batch of files."""

    def __init__(self, model: str):
        self._model = model
        self._shared = Shared()

    def setup(self) -> None:
        self._predictor = self._shared.acquire(lambda: _load(self._model), tag=self._model)

    def process(self, files: Sequence[ReadableFile]) -> Iterator[Any]:
        names = [file.metadata.path for file in files]
        with tempfile.TemporaryDirectory() as folder:
            copies = [_local(file, Path(folder, str(index))) for index, file in enumerate(files)]
            predictions = self._predictor.predict_each([each for each in copies if isinstance(each, Path)])
            for name, copy in zip(names, copies, strict=True):
                prediction = next(predictions) if isinstance(copy, Path) else Prediction(name, error=copy)
                yield _error(name, prediction) if prediction.error else _success(name, prediction)


def _load(model: str) -> Predictor:
    """Load a model; one on another file system is copied first, as TensorFlow may not support it."""
    if FileSystems.get_scheme(model) is None:
        return Predictor(model)
    with tempfile.TemporaryDirectory() as folder:
        (matched,) = FileSystems.match([FileSystems.join(model, "**")])
        for file in matched.metadata_list:
            copy = Path(folder, file.path.removeprefix(model).lstrip("/"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            with FileSystems.open(file.path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        return Predictor(folder)


def _local(file: ReadableFile, copy: Path) -> Path | str:
    """Return a path of the file on this machine, or why there is none."""
    name = file.metadata.path
    if FileSystems.get_scheme(name) is None:
        return Path(name)
    try:
        with file.open() as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
    except Exception as error:  # each file system has its own exceptions
        logging.getLogger(__name__).warning("%s: cannot be read: %s", name, error)
        return f"cannot be read: {error}; expected an audio file"
    return copy


def _error(name: str, prediction: Prediction) -> beam.pvalue.TaggedOutput:
    return beam.pvalue.TaggedOutput("errors", {"file": name, "error": prediction.error})


def _success(name: str, prediction: Prediction) -> dict[str, Any]:
    return {"file": name, **{key: getattr(prediction, key) for key in ("label", "confidence", "probabilities")}}
