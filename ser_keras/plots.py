"""Figures of results and recordings, by matplotlib; none opens a window.

scikit-learn has displays for confusion matrices, of one array that gives both shades and numbers, and for the
calibration of two classes; neither fits here.
"""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ser_keras.config import AudioConfig
from ser_keras.explanation import Attention
from ser_keras.metrics import ReliabilityBins
from ser_keras.predictions import Timeline, Window
from ser_keras.predictions.notebook import emotion_colours, joined_stretches

_DARK = 0.6  # numbers on shades of this share and above are white
_FAINT = "0.6"
_SHOWN_DB = 80.0  # cells of a spectrogram this far below the loudest one are black
_SATURATED = 0.998  # cells of an attribution above this quantile have the same shade
_COLUMNS = 800  # of a waveform
_FIRST, _SECOND, _INK = "tab:blue", "tab:orange", "black"
_LETTER = 0.02  # of the width of a timeline
_NAMES_IN_A_ROW = 6  # of a legend

_THEME = {"#000000": "currentColor", "#1f77b4": "var(--accent)", "#ff7f0e": "var(--warm)", "#999999": "var(--muted)"}
"""matplotlib's colours to those of a page, which is light or dark as the reader's system."""

Stretch = tuple[float, float, Window]
"""Start and end, in seconds, of the time for which a window of a timeline is the nearest."""


def confusion_matrix_figure(confusion_matrix: np.ndarray, emotions: Sequence[str]) -> Figure:
    """Draw a confusion matrix.

    Args:
        confusion_matrix: counts `(emotions, emotions)`, true emotions in rows.
        emotions: names of the rows and columns.

    Returns:
        A figure with the counts as numbers, and their shares of the row as shades.

    Example:
        >>> figure = confusion_matrix_figure(np.array([[8, 0], [1, 1]]), ("happy", "sad"))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['8', '0', '1', '1']
    """
    shares = confusion_matrix / np.maximum(confusion_matrix.sum(axis=1, keepdims=True), 1)
    size = 2.4 + 0.55 * len(emotions)
    figure = Figure(figsize=(size + 1, size), layout="compressed")
    axes = figure.add_subplot(xlabel="predicted emotion", ylabel="true emotion")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    emotions = [_drawable(emotion) for emotion in emotions]
    axes.set_xticks(range(len(emotions)), emotions, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(emotions)), emotions, parse_math=False)
    _separate_cells(axes, len(emotions))
    for (row, column), count in np.ndenumerate(confusion_matrix):
        color = "white" if shares[row, column] > _DARK else "black" if count else _FAINT
        axes.text(column, row, f"{count:d}", ha="center", va="center", color=color)
    bar = figure.colorbar(image, label="share of the true emotion", shrink=0.7, format=PercentFormatter(1))
    bar.outline.set_visible(False)
    return figure


def reliability_figure(bins: ReliabilityBins) -> Figure:
    """Draw a reliability diagram: accuracy over confidence (Guo et al., 2017, fig. 4).

    Args:
        bins: as `ser_keras.metrics.reliability_bins` returns them.

    Returns:
        A figure with accuracy over confidence, their difference, the diagonal of a calibrated classifier, and below the
        number of clips in each bin.

    Example:
        >>> from ser_keras.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]), num_bins=5)
        >>> [axes.get_ylabel() for axes in reliability_figure(bins).axes]
        ['accuracy', 'clips']
    """
    figure = Figure(figsize=(4.5, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = bins.counts > 0
    accuracy, confidence = bins.accuracy[filled], bins.confidence[filled]
    bars = {"x": bins.edges[:-1][filled], "width": np.diff(bins.edges)[filled] * 0.94, "align": "edge"}
    gap = {"color": "none", "edgecolor": _SECOND, "hatch": "/////", "linewidth": 0}
    upper.bar(height=accuracy, color=_FIRST, label="accuracy", **bars)
    upper.bar(height=confidence - accuracy, bottom=accuracy, label="difference", **gap, **bars)
    upper.plot((0, 1), (0, 1), color=_FAINT, linestyle=":", label="calibrated", zorder=3)
    lower.bar(height=bins.counts[filled], color=_FIRST, **bars)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    lower.set(xlabel="probability of the predicted emotion", ylabel="clips")
    lower.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3, min_n_ticks=1))
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def history_figure(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw loss and UAR over the epochs, training beside validation.

    Args:
        history: the `history` of Keras's History, with one value an epoch for each key.

    Returns:
        A figure with two panels; a line marks the epoch with the best validation UAR.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    loss, uar = figure.subplots(1, 2)
    for axes, key, label in ((loss, "loss", "loss"), (uar, "uar", "UAR")):
        for name, prefix in (("training", ""), ("validation", "val_")):
            values = history[prefix + key]
            axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    best = int(np.argmax(history["val_uar"]))
    uar.axvline(best + 1, color=_FAINT, linestyle=":", zorder=0)
    last, highest = history["val_uar"][-1], history["val_uar"][best]
    uar.set_title(f"validation UAR {last:.3f} at the end, {highest:.3f} in epoch {best + 1}", fontsize=10)
    uar.set_ylim(0, 1.02)
    loss.legend(frameon=False)
    return figure


def recording_figure(
    waveform: np.ndarray, log_mel: np.ndarray, audio: AudioConfig, *, attention: Attention | None = None
) -> Figure:
    """Draw a recording: its waveform, with the attention over it, above its log-mel spectrogram.

    Args:
        waveform: float `(samples,)`, full scale is [-1, 1].
        log_mel: `(frames, mels)`, in dB, as `ser_keras.explanation.log_mel_of` returns it.
        audio: recipe of the spectrogram.
        attention: as `ser_keras.explanation.attention_over_time` returns it.

    Returns:
        A figure with two panels over one axis of time in seconds.
    """
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    _show_waveform(upper, waveform, audio.sample_rate)
    if attention is not None:
        _show_attention(upper.twinx(), attention)
    image = _show_bands(lower, log_mel, audio, cmap="magma", vmin=log_mel.max() - _SHOWN_DB)
    figure.colorbar(image, ax=lower, label="level, dB", pad=0.01)
    upper.set_xlim(0, len(waveform) / audio.sample_rate)
    upper.tick_params(labelbottom=False)
    return figure


def timeline_figure(
    waveform: np.ndarray, sample_rate: int, timeline: Timeline, *, attention: Attention | None = None
) -> Figure:
    """Draw the emotions along a recording: its waveform on their colours, above the probability of each.

    Args:
        waveform: float `(samples,)`, full scale is [-1, 1].
        sample_rate: of the waveform, in Hz.
        timeline: of the same recording, with at least one window.
        attention: over time, drawn over the waveform.

    Returns:
        A figure with two panels over one axis of time in seconds.

    Example:
        >>> from ser_keras.predictions import Window
        >>> windows = [Window(0.0, 3.0, "sad", 0.8, {"calm": 0.2, "sad": 0.8})]
        >>> figure = timeline_figure(np.zeros(48_000), 16_000, Timeline(None, tuple(windows)))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['sad']
    """
    stretches = timeline.stretches()
    colours = emotion_colours(stretches[0][2].probabilities)
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _show_waveform(upper, waveform, sample_rate, color=_INK)
    _show_emotions(upper, stretches, colours)
    if attention is not None:
        _show_attention(upper.twinx(), attention, shade=0)
    _show_probabilities(lower, stretches, colours)
    lower.set(xlabel="time, s", xlim=(0, stretches[-1][1]))
    _add_legend(figure, colours)
    return figure


def attribution_figure(attribution: np.ndarray, audio: AudioConfig) -> Figure:
    """Draw the attribution of a probability to the cells of a log-mel spectrogram.

    Args:
        attribution: `(frames, mels)`, as `ser_keras.explanation.integrated_gradients` and
            `ser_keras.explanation.occlusion` return it.
        audio: recipe of the spectrogram.

    Returns:
        A figure in which red cells raise the probability and blue cells lower it. The few strongest cells share the
        darkest shade, so that the others are visible too.
    """
    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    most = float(np.quantile(np.abs(attribution), _SATURATED)) or 1.0
    axes = figure.add_subplot()
    image = _show_bands(axes, attribution, audio, cmap="RdBu_r", vmin=-most, vmax=most)
    figure.colorbar(image, ax=axes, label="part of the probability", pad=0.01, extend="both")
    return figure


def _show_waveform(axes: Axes, waveform: np.ndarray, sample_rate: int, *, color: str = _FIRST) -> None:
    """Draw the lowest and highest sample of each column of the picture."""
    parts = np.array_split(waveform, min(len(waveform), _COLUMNS))
    starts = np.cumsum([0, *map(len, parts[:-1])]) / sample_rate
    lowest, highest = zip(*((part.min(), part.max()) for part in parts), strict=True)
    axes.fill_between(starts, lowest, highest, color=color, linewidth=0.5)
    peak = max(np.abs(waveform).max(), 1e-4)
    axes.set(ylabel="amplitude", ylim=(-1.1 * peak, 1.1 * peak))
    axes.spines[["top", "right"]].set_visible(False)


def _show_attention(axes: Axes, attention: Attention, *, shade: float = 0.2) -> None:
    axes.fill_between(attention.seconds, attention.weights, step="mid", color=_SECOND, alpha=shade, linewidth=0)
    axes.step(attention.seconds, attention.weights, where="mid", color=_SECOND)
    axes.set(ylabel="attention", ylim=(0, 1.1 * float(attention.weights.max())))
    axes.yaxis.label.set_color(_SECOND)
    axes.spines[["top", "left"]].set_visible(False)


def _show_emotions(axes: Axes, stretches: Sequence[Stretch], colours: Mapping[str, str]) -> None:
    """Draw the colour of each emotion behind a waveform, and its name above if there is room."""
    length = stretches[-1][1]
    for start, end, name in joined_stretches((start, end, window.label) for start, end, window in stretches):
        axes.axvspan(start, end, color=colours.get(name, "none"), alpha=0.35, linewidth=0, zorder=0)
        if (end - start) / length > _LETTER * len(name):
            middle = (start + end) / 2
            axes.text(
                middle, 1.02, _drawable(name), transform=axes.get_xaxis_transform(), ha="center", parse_math=False
            )


def _show_probabilities(axes: Axes, stretches: Sequence[Stretch], colours: Mapping[str, str]) -> None:
    """Stack the probabilities of the emotions, as steps over time."""
    rows = np.array([list(window.probabilities.values()) for _, _, window in stretches])  # (windows, emotions)
    heights = np.vstack([rows, rows[-1:]]).T  # (emotions, windows + 1)
    times = [stretches[0][0], *(end for _, end, _ in stretches)]
    axes.stackplot(times, heights, colors=list(colours.values()), step="post", linewidth=0)
    axes.set(ylabel="probability", ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Figure, colours: Mapping[str, str]) -> None:
    """Add a legend of emotions below a figure."""
    num_rows = 1 + (len(colours) - 1) // _NAMES_IN_A_ROW
    patches = [Patch(color=colour, label=_drawable(name)) for name, colour in colours.items()]
    legend = figure.legend(
        handles=patches, loc="outside lower center", ncols=-(-len(colours) // num_rows), frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _show_bands(axes: Axes, values: np.ndarray, audio: AudioConfig, **style) -> QuadMesh:
    """Draw `(frames, mels)` over seconds and Hz."""
    import librosa  # here, because its import takes a second

    centres = librosa.mel_frequencies(audio.num_mel_bins + 2, fmin=audio.min_hz, fmax=audio.max_hz)[1:-1]
    image = librosa.display.specshow(
        values.T,
        sr=audio.sample_rate,
        hop_length=audio.frame_step,
        x_axis="s",
        y_axis="mel",
        y_coords=centres,
        ax=axes,
        **style,
    )
    axes.set(xlabel="time, s", ylabel="frequency, Hz")
    return image


def _drawable(text: str) -> str:
    """Return a text on one line that every font renderer takes."""
    return " ".join(text.encode(errors="backslashreplace").decode().split())


def _separate_cells(axes: Axes, num_cells: int) -> None:
    """Put white lines between the cells of a matrix, in place of frame and tick marks."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    edges = np.arange(num_cells + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)


def figure_to_svg(figure: Figure, label: str, *, salt: str = "") -> Markup:
    """Return a figure as inline SVG in the colours of the page, which no style sheet of matplotlib can name.

    Args:
        figure: its texts are escaped.
        label: text for screen readers.
        salt: different for each figure of its kind on the page, so that ids are unique.

    Example:
        >>> figure_to_svg(Figure(), "Nothing to see")[:44]
        Markup('<svg role="img" aria-label="Nothing to see" ')
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label + salt, "savefig.dpi": 110}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    drawing = file.getvalue().partition("<svg ")[2]
    drawing = re.sub(r'\b(width|height)="[\d.]+pt"', "", drawing, count=2)  # the page decides
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # nothing refers to them, and each figure has the same
    for color, variable in _THEME.items():
        drawing = drawing.replace(color, variable)
    return Markup('<svg role="img" aria-label="{}" ').format(label) + Markup(drawing)
