"""export_model: write a trained model as a SavedModel for TF Serving.

The exported graph contains the decoder, the features, the normalisation, the network and the names of the emotions.
It runs without Keras and without this package, and consists of core TensorFlow ops only.
"""

import errno
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from ser_keras import __version__
from ser_keras.config import ExportConfig
from ser_keras.errors import InputError
from ser_keras.files import blame_disk, write_bytes, write_json
from ser_keras.model import ParallelModel
from ser_keras.presets import WHISPER_LICENCE
from ser_keras.runs.reading import FORMAT_VERSION
from ser_keras.serving.model_card import read_run
from ser_keras.serving.parity_check import check_export
from ser_keras.serving.signatures import ServedModel
from ser_keras.serving.warmup import FILE_NAME, write_warmup
from ser_keras.templates import render
from ser_keras.terminal import log_level

if TYPE_CHECKING:
    from ser_keras.evaluation import Report

SERVER_FILES = ("models.config", "batching.config", "monitoring.config", "docker-compose.yml")
"""Files for `tensorflow_model_server` in the model's folder."""


def export_model(
    model: ParallelModel,
    directory: str | Path,
    *,
    name: str | None = None,
    run: str | Path | None = None,
    report: "Report | None" = None,
    config: ExportConfig | None = None,
) -> Path:
    """Write a version of a model for TF Serving, and check its outputs against those of the live model.

    The SavedModel has four signatures. `serving_default` takes ``audio_bytes``, string `(batch,)`: WAV files of any
    common encoding, rate and number of channels. `waveform` takes ``waveform``, float32 `(batch, time)`,
    ``num_samples``, int32 `(batch,)`, the length without padding, and ``sample_rate``, int32 `(batch,)`, in Hz. Both
    return

    - ``label``, string `(batch,)`, and ``confidence``, its probability, float32 `(batch,)`;
    - ``abstained``, bool `(batch,)`: whether the confidence is below ``config.abstain_below``; the label is returned
      all the same;
    - ``probabilities``, float32, and ``emotions``, their names, string, both `(batch, emotions)`;
    - ``attention``, float32 `(batch, steps)`: weights over time that sum to 1, zero in the padding;
      and ``attention_seconds``, the middle of each step;
    - ``error``, string `(batch,)`, empty if there is none.

    `timeline` takes ``audio_bytes`` and classifies windows: ``label``, ``confidence``, ``abstained``,
    ``start_seconds`` and ``end_seconds``, `(batch, windows)`, ``probabilities``, `(batch, windows, emotions)`,
    ``num_windows``, int32 `(batch,)`, ``emotions`` and ``error``. Windows after `num_windows` are empty
    or 0. `embedding` takes ``audio_bytes`` and returns ``embedding``, `(batch, features)`, the input of the last
    layer, and ``error``.

    An item with an error has an empty label and zeros, and does not change the other items. No output is ever NaN or
    infinite.

    The model's folder gets `models.config`, `batching.config`, `monitoring.config` and `docker-compose.yml` if they
    are missing. The version contains the names of the emotions and the recipe (`assets/`), warm-up requests
    (`assets.extra/`) and a model card (`README.md`).

    Args:
        model: Trained model that knows its emotions.
        directory: The model's folder, as in ``models/ser``, which gets the next version number; or a
            version in it, as in ``models/ser/7``, which must not exist.
        name: Name of the model on the server; that of its folder if None.
        run: Directory of the training run, for the data and the score in the model card.
        report: Score for the model card, if there is no run.
        config: Maximum lengths, windows of the timeline, batch sizes.

    Returns:
        The version's directory.

    Raises:
        InputError: The model does not know its emotions, the version exists or cannot be written, or its outputs
            differ from the model's. No version is left then.

    Example:
        ```python
        version = export_model(model, "models/ser")
        served = tf.saved_model.load(version).signatures["serving_default"]
        served(audio_bytes=tf.constant([wav_bytes]))["label"]
        ```
    """
    model.known_emotions()
    config = config or ExportConfig()
    base, version = _base_and_version(Path(directory))
    facts = _facts(model, config, _server_name(name, base)) | _figures(run, report)
    with _temporary_directory(base) as part:
        _save(ServedModel(model, config), facts, part)
        write_warmup(
            part / "assets.extra" / FILE_NAME,
            model=facts["name"],
            batch_sizes=config.batch_sizes,
            sample_rate=model.audio.sample_rate,
        )
        if model.config.encoder_blocks:
            shutil.copy(WHISPER_LICENCE, part)
        facts["agreement"] = check_export(model, part)
        _write_server_files(base, facts)
        return _publish(part, base, version, facts)


def _base_and_version(directory: Path) -> tuple[Path, Path | None]:
    """Return a model's folder, and the version in it; None for the next number."""
    if not directory.name.isdecimal():
        return directory, None
    if directory.exists():
        raise InputError(f"{directory}: exists already; a version is never overwritten, give another directory")
    return directory.parent, directory


def _server_name(name: str | None, base: Path) -> str:
    if name is None:
        return re.sub(r"[^A-Za-z0-9_-]+", "-", base.resolve().name).strip("-") or "ser"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"name={name!r}: expected letters, digits, '-' and '_', as it becomes a part of addresses")
    return name


def _facts(model: ParallelModel, config: ExportConfig, name: str) -> dict[str, Any]:
    """Return the recipe, as plain values."""
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "emotions": list(model.emotions),
        "audio": model.audio.to_dict(),
        "model": model.config.to_dict(),
        "serving": config.to_dict(),
        "num_weights": model.count_params(),
        "adaptation": model.adaptation,
        "temperature": float(model.parts.temperature.temperature.numpy()),
        "num_features": model.parts.embedding.shape[-1],
        "versions": {"ser_keras": __version__, "keras": keras.__version__, "tensorflow": tf.__version__},
    }


def _figures(run: str | Path | None, report: "Report | None") -> dict[str, Any]:
    figures = {"data": None, "metrics": None} if run is None else read_run(run)
    figures["is_score_of_run"] = run is not None and report is None
    return figures if report is None else {**figures, "metrics": report.to_dict()}


@contextmanager
def _temporary_directory(base: Path) -> Iterator[Path]:
    """Yield a folder next to the versions that no server reads; it is removed at the end."""
    part = None
    try:
        base.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".version-", dir=base))
        yield part
    except OSError as error:
        blame_disk(error, base)
        raise
    except tf.errors.OpError as error:  # TensorFlow's error for a full disk
        reason = str(error.message).rpartition(";")[2].strip()
        raise InputError(f"{base}: cannot be written ({reason}); give another directory") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _save(model: ServedModel, facts: dict[str, Any], part: Path) -> None:
    """Write the SavedModel with names and recipe as assets, without TensorFlow's message about the temporary folder."""
    with tempfile.TemporaryDirectory() as folder, log_level("tensorflow", logging.WARNING):
        labels, recipe = Path(folder) / "labels.txt", Path(folder) / "model.json"
        write_bytes(labels, "".join(f"{emotion}\n" for emotion in facts["emotions"]).encode())
        write_json(recipe, facts)
        root = tf.Module()  # not `model`, whose functions would be traced again and saved as well
        root.weights = model.weights
        root.assets = [tf.saved_model.Asset(str(path)) for path in (labels, recipe)]
        tf.saved_model.save(root, str(part), signatures=model.signatures())
    (part / "assets.extra").mkdir()


def _write_server_files(base: Path, facts: dict[str, Any]) -> None:
    """Write the missing server files; existing ones may have been edited."""
    for name in SERVER_FILES:
        if not (base / name).exists():
            write_bytes(base / name, render(name, **facts))


def _publish(part: Path, base: Path, version: Path | None, facts: dict[str, Any]) -> Path:
    """Rename the folder to its version; another process may take the number at the same time."""
    part.chmod(0o755)
    while True:
        target = version or base / str(_next_version(base))
        write_bytes(part / "README.md", render("model_card.md", version=target.name, **facts))
        try:
            return part.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if version is not None:
                raise InputError(f"{version}: exists already; another export was quicker") from error


def _next_version(base: Path) -> int:
    return max((int(each.name) for each in base.iterdir() if each.name.isdecimal()), default=0) + 1
