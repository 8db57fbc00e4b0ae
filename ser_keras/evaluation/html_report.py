"""The report page: one HTML file with scores, pictures and the sound of the most confident errors.

Styles, pictures and sound are in the file, there is no script, and the page itself forbids requests
(Content-Security-Policy). The templates escape all data.
"""

import base64
import io
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from markupsafe import Markup

from ser_keras import __version__
from ser_keras.audio import load_audio
from ser_keras.audio_io.sound_files import encode_wav
from ser_keras.config import AudioConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.explanation import attention_over_time
from ser_keras.layers.log_mel import LogMelSpectrogram
from ser_keras.metrics import reliability_bins
from ser_keras.model import ParallelModel
from ser_keras.pipeline.clips import LONGEST_FILE_SECONDS
from ser_keras.plots import confusion_matrix_figure, figure_to_svg, history_figure, recording_figure, reliability_figure
from ser_keras.templates import render

Report = Any
"""A `ser_keras.evaluation.Report`; that module is built on this one."""

_SHOWN_SECONDS = 30.0  # of a recording
_SOUND_BYTES = 192_000  # of the sound of one recording: 6 s at 16 kHz
_MOST_GUESSES = 3


class Mistake(NamedTuple):
    """A wrong prediction, as the page shows it.

    Attributes:
        path: the recording.
        facts: the speaker and the segment of the file, if known, and the length.
        label: the true emotion.
        guesses: the most probable emotions and the true one with their probabilities, most probable first.
        picture: the recording with the attention over it, as SVG; empty if it cannot be read.
        sound: its beginning as base64 of a WAV file; empty if it cannot be read.
        sound_seconds: length of the sound.
        fault: why it cannot be read; else empty.
    """

    path: Path
    facts: tuple[str, ...]
    label: str
    guesses: tuple[tuple[str, float], ...]
    picture: Markup = Markup()
    sound: str = ""
    sound_seconds: float = 0.0
    fault: str = ""


def report_page(
    report: Report,
    *,
    title: str | None = None,
    model: ParallelModel | None = None,
    history: Mapping[str, Sequence[float]] | None = None,
    about: Mapping[str, str] | None = None,
    num_mistakes: int = 6,
) -> bytes:
    """Make the page of `Report.save_html`; the arguments are described there."""
    recipe = model.audio if model is not None else AudioConfig()
    return render(
        "report.html",
        title=title or _title(report, model),
        report=report,
        chance=1 / len(report.emotions),
        matrix=_matrix(report),
        reliability=figure_to_svg(
            reliability_figure(reliability_bins(report.labels, report.probabilities)), _RELIABILITY
        ),
        history=figure_to_svg(history_figure(history), _HISTORY) if history else "",
        mistakes=[_mistake(report, index, model, recipe) for index in _most_confident_errors(report, num_mistakes)],
        num_wrong=int((report.predictions != report.labels).sum()),
        about={**_about(report, model), **(about or {})},
        made=datetime.now().astimezone(),
    )


def report_cell(report: Report) -> str:
    """Return the scores and a picture of the confusion matrix as HTML for Jupyter."""
    picture = io.BytesIO()
    confusion_matrix_figure(report.confusion_matrix, report.emotions).savefig(picture, format="png", dpi=100)
    matrix = base64.b64encode(picture.getvalue()).decode()
    return render("report_cell.html", report=report, matrix=matrix).decode()


_RELIABILITY = "Reliability diagram: accuracy over the probability of the predicted emotion"
_HISTORY = "Training curves: loss and UAR over the epochs, for training and validation"


def _title(report: Report, model: ParallelModel | None) -> str:
    corpora = sorted({each.corpus for each in report.utterances})
    name = "Speech emotion recognition" if model is None else type(model).__name__
    return f"{name} on {', '.join(corpora) or f'{len(report.labels)} clips'}"


def _about(report: Report, model: ParallelModel | None) -> dict[str, str]:
    packages = {"ser_keras": __version__, "TensorFlow": tf.__version__, "Keras": keras.__version__}
    packages["Python"] = platform.python_version()
    network = {} if model is None else {"Network": f"{type(model).__name__}, {model.count_params():,} weights"}
    return {
        **network,
        "Emotions": ", ".join(report.emotions),
        "Speakers": ", ".join(report.per_speaker) or "unknown",
        "Versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }


def _matrix(report: Report) -> list[tuple[str, list[tuple[int, float]]]]:
    """Return for each true emotion its counts and their shares of the row."""
    shares = report.confusion_matrix / np.maximum(report.confusion_matrix.sum(axis=1, keepdims=True), 1)
    rows = zip(report.emotions, report.confusion_matrix.tolist(), shares.tolist(), strict=True)
    return [(emotion, list(zip(counts, row, strict=True))) for emotion, counts, row in rows]


def _most_confident_errors(report: Report, most: int) -> list[int]:
    """Return the indices of the wrong predictions with the highest confidence whose recordings are known."""
    wrong = np.flatnonzero(report.predictions != report.labels) if report.utterances else np.zeros(0, int)
    return wrong[np.argsort(-report.probabilities[wrong].max(axis=1), kind="stable")][:most].tolist()


def _mistake(report: Report, index: int, model: ParallelModel | None, recipe: AudioConfig) -> Mistake:
    utterance, probabilities = report.utterances[index], report.probabilities[index]
    label = report.labels[index]
    first = np.argsort(-probabilities, kind="stable")[:_MOST_GUESSES].tolist()
    shown = first if label in first else [*first, label]
    mistake = Mistake(
        path=utterance.path,
        facts=_facts(utterance),
        label=report.emotions[label],
        guesses=tuple((report.emotions[place], float(probabilities[place])) for place in shown),
    )
    try:
        waveform = _read(utterance, recipe.sample_rate)
    except InputError as error:
        return mistake._replace(fault=str(error))
    facts = (*mistake.facts, f"{len(waveform) / recipe.sample_rate:.1f} s")
    return mistake._replace(facts=facts, **_picture_and_sound(waveform, model, recipe, index))


def _facts(utterance: Utterance) -> tuple[str, ...]:
    speaker = [f"speaker {utterance.speaker_id}"] if utterance.speaker_id else []
    start, end = utterance.start_seconds, utterance.end_seconds
    if start is None and end is None:
        return (*speaker,)
    return (*speaker, f"from {start or 0:g} s" + ("" if end is None else f" to {end:g} s"))


def _read(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """Return the shown part of an utterance, float32 `(samples,)`."""
    samples = load_audio(utterance.path, sample_rate=sample_rate, max_seconds=LONGEST_FILE_SECONDS)
    start = round((utterance.start_seconds or 0.0) * sample_rate)
    end = len(samples) if utterance.end_seconds is None else round(utterance.end_seconds * sample_rate)
    part = samples[start : min(end, start + round(_SHOWN_SECONDS * sample_rate))]
    if not part.size:
        raise InputError(f"{utterance.path}: is shorter than it was; expected {utterance.start_seconds} s and more")
    return part


def _picture_and_sound(
    waveform: np.ndarray, model: ParallelModel | None, recipe: AudioConfig, index: int
) -> dict[str, Any]:
    rate = recipe.sample_rate
    log_mel = LogMelSpectrogram(**recipe.to_dict())(waveform[None], np.array([len(waveform)])).numpy()[0]
    attention = None if model is None else attention_over_time(model, waveform)
    label = "Waveform" + ("" if model is None else ", attention") + " and log-mel spectrogram over time"
    sound = waveform[: _SOUND_BYTES // 2]
    return {
        "picture": figure_to_svg(
            recording_figure(waveform, log_mel, recipe, attention=attention), label, salt=str(index)
        ),
        "sound": base64.b64encode(encode_wav(sound, rate, "PCM_16")).decode(),
        "sound_seconds": len(sound) / rate,
    }
