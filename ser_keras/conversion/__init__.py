"""convert_model: TensorFlow Lite and ONNX files of a model, and a table of their accuracy and speed.

The files take waveforms at the model's sample rate, so the caller decodes and resamples. They use only
operations of the runtimes themselves; no TensorFlow is needed to run them. The features stay float32 in every
precision: 8 bits cannot represent a power spectrum and its logarithm.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ser_keras import __version__
from ser_keras.conversion.formats import CONVERTERS, onnx_packages, quiet
from ser_keras.conversion.graph import classifier, freeze
from ser_keras.conversion.trial import TOLERANCES, Trial
from ser_keras.errors import InputError
from ser_keras.files import whole_directory, write_bytes, write_json
from ser_keras.model import ParallelModel
from ser_keras.templates import render

PRECISIONS = tuple(TOLERANCES)


@dataclass(frozen=True)
class Conversion:
    """One row of the table: a file, its difference from the model, its size and its speed.

    Attributes:
        format: "tensorflow" (the function that was converted), "tflite" or "onnx".
        precision: "float32", "float16" (of the weights) or "int8" (of the weights, and of the inputs of
            each product while it runs).
        file: name of the file, if there is one.
        megabytes: size of the file, in 1e6 bytes.
        max_difference: largest difference of a probability from that of the live Keras model.
        label_agreement: fraction of the clips with the label that the live model predicts, 0 to 1.
        latency_ms: median time for a clip of 3 s, in milliseconds, on one thread (TensorFlow: on all).
        error: why the conversion failed, with the unsupported operations; else empty.
    """

    format: str
    precision: str
    file: str | None = None
    megabytes: float | None = None
    max_difference: float | None = None
    label_agreement: float | None = None
    latency_ms: float | None = None
    error: str = ""


def convert_model(
    model: ParallelModel, directory: str | Path, *, formats: Sequence[str] = ("tflite", "onnx")
) -> list[Conversion]:
    """Write a model for TensorFlow Lite and ONNX runtimes, in three precisions each.

    The directory holds `model_float32.tflite`, `model_float16.tflite`, `model_int8.tflite`, the same for
    `.onnx`, `labels.txt` (an emotion a line), `model.json` (emotions, recipe of the features, inputs and
    outputs) and the returned table as `conversions.json` and `README.md`.

    Each file takes ``waveform``, float32 `(batch, time)`, mono at ``model.audio.sample_rate``, and
    ``num_samples``, int32 `(batch,)`, the true lengths; later samples are ignored. It outputs
    ``probabilities`` `(batch, emotions)` and ``attention`` `(batch, steps)`, weights over time. Clips can have any
    length (TensorFlow Lite's C++ and Java interpreters need `ResizeInputTensor` for a new one). The batch size
    is 1 in TensorFlow Lite, and any in ONNX, where in `model_int8.onnx` the clips of a batch affect each other
    slightly: its numbers are scaled by the largest of the batch. The runtimes have to be TensorFlow Lite
    2.13 (2.17 for int8) or one for ONNX's operation set 17, or later.

    Args:
        model: trained model that knows its emotions.
        directory: a new one; it is written completely or not at all.
        formats: "tflite", "onnx" or both; "onnx" needs the packages of ``ser-keras[convert]``.

    Returns:
        The TensorFlow function itself for comparison, then one row for each format and precision. A conversion that
        fails has the reason in its `error`, and the others are still written.

    Raises:
        InputError: the model does not know its emotions, a format or a package is missing, the
            directory exists or cannot be written, or every conversion failed.

    Example:
        ```python
        rows = convert_model(model, "converted/ser")
        classify = tf.lite.Interpreter("converted/ser/model_int8.tflite").get_signature_runner()
        classify(waveform=waveform[None], num_samples=np.array([len(waveform)], np.int32))["probabilities"]
        ```
    """
    model.known_emotions()
    if not formats or set(formats) - set(CONVERTERS):
        raise InputError(f"formats={tuple(formats)}: expected some of {', '.join(CONVERTERS)}")
    if "onnx" in formats:
        onnx_packages()
    with whole_directory(directory) as part, quiet():
        trial = Trial(model)
        rows = [row for name in formats for row in _convert(CONVERTERS[name](model), part, trial)]
        if all(row.error for row in rows):
            reasons = "; ".join(f"{row.format} {row.precision}: {row.error}" for row in rows)
            raise InputError(f"nothing could be converted: {reasons}")
        rows.insert(0, _reference(model, trial))
        _write_description(model, rows, part)
    return rows


def conversion_table(rows: Sequence[Conversion]) -> str:
    """Return rows of `convert_model` as a Markdown table.

    Example:
        >>> print(conversion_table([Conversion("tflite", "int8", error="the runtime has no RFFT")]))
        | format | precision | size, MB | largest difference | same label | 3 s clip, ms |
        |---|---|---|---|---|---|
        | tflite | int8 | the runtime has no RFFT | | | |
    """
    lines = [
        "| format | precision | size, MB | largest difference | same label | 3 s clip, ms |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_table_row, rows)])


def _table_row(row: Conversion) -> str:
    if row.error:
        return f"| {row.format} | {row.precision} | {row.error.replace('|', ' ')} | | | |"
    figures = f"{row.megabytes:.2f} | {row.max_difference:.1e} | {row.label_agreement:.0%} | {row.latency_ms:.1f}"
    return f"| {row.format} | {row.precision} | {figures} |"


def _convert(converter: Any, part: Path, trial: Trial) -> Iterator[Conversion]:
    for precision in PRECISIONS:
        path = part / f"model_{precision}.{converter.format}"
        try:
            converter.write(path, precision)
            figures = trial.figures(converter.load(path), precision)
            yield Conversion(converter.format, precision, path.name, path.stat().st_size / 1e6, **figures)
        except OSError:
            raise
        except Exception as error:  # converters raise many kinds, and one failure is one row
            path.unlink(missing_ok=True)
            yield Conversion(converter.format, precision, error=_reason(error))


def _reference(model: ParallelModel, trial: Trial) -> Conversion:
    function = classifier(model, "tensorflow")

    def classify(waveform, num_samples):
        return function(tf.constant(waveform), tf.constant(num_samples))["probabilities"].numpy()[0]

    size = freeze(function).graph.as_graph_def().ByteSize() / 1e6
    return Conversion("tensorflow", "float32", None, size, **trial.figures(classify, "float32"))


def _reason(error: Exception) -> str:
    """Name the unsupported operations, if the converter's message does."""
    if missing := re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE):
        return f"the runtime has no {', '.join(missing)}"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _write_description(model: ParallelModel, rows: list[Conversion], part: Path) -> None:
    write_bytes(part / "labels.txt", "".join(f"{emotion}\n" for emotion in model.emotions).encode())
    write_json(part / "model.json", _facts(model))
    write_json(part / "conversions.json", [asdict(row) for row in rows])
    rate = model.audio.sample_rate
    write_bytes(part / "README.md", render("conversions.md", table=conversion_table(rows), rate=rate))


def _facts(model: ParallelModel) -> dict[str, Any]:
    rate, step = model.audio.sample_rate, model.audio.frame_step * model.config.frames_per_step
    inputs = {
        "waveform": ("float32", ["batch", "time"], f"mono at {rate} Hz, full scale is [-1, 1]"),
        "num_samples": ("int32", ["batch"], "true length in samples; later ones are ignored"),
    }
    outputs = {
        "probabilities": ("float32", ["batch", model.num_emotions], "0 to 1, in the order of the emotions"),
        "attention": ("float32", ["batch", "steps"], f"weights of {step} samples each, which sum to 1"),
    }
    return {
        "emotions": list(model.emotions),
        "audio": model.audio.to_dict(),
        "inputs": {name: dict(zip(("dtype", "shape", "unit"), each, strict=True)) for name, each in inputs.items()},
        "outputs": {name: dict(zip(("dtype", "shape", "unit"), each, strict=True)) for name, each in outputs.items()},
        "versions": {"ser_keras": __version__, "keras": keras.__version__, "tensorflow": tf.__version__},
    }
