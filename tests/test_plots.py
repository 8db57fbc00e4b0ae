"""The pictures say what the numbers say, and open no window."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from ser_keras.config import AudioConfig
from ser_keras.explanation import Attention
from ser_keras.metrics import ReliabilityBins
from ser_keras.plots import (
    attribution_figure,
    confusion_matrix_figure,
    history_figure,
    recording_figure,
    reliability_figure,
    timeline_figure,
)
from ser_keras.predictions import Timeline, Window

EMOTIONS = ("happy", "sad", "angry")
MATRIX = np.array([[8, 2, 0], [1, 0, 1], [0, 0, 0]])
HISTORY = {
    "loss": [2.0, 1.5, 1.0],
    "val_loss": [2.1, 1.7, 1.9],
    "uar": [0.2, 0.5, 0.8],
    "val_uar": [0.1, 0.6, 0.4],
}
AUDIO = AudioConfig(num_mel_bins=16)
WAVEFORM = np.sin(np.arange(16_000, dtype=np.float32)) * np.linspace(0, 0.5, 16_000, dtype=np.float32)
LOG_MEL = np.linspace(-150, 0, 101 * 16, dtype=np.float32).reshape(101, 16)
ATTRIBUTION = np.linspace(-0.01, 0.03, 101 * 16).reshape(101, 16)
ATTENTION = Attention(np.array([0.1, 0.5, 0.9], np.float32), np.array([0.2, 0.7, 0.1], np.float32))
BINS = ReliabilityBins(
    edges=np.array([0, 0.25, 0.5, 0.75, 1]),
    counts=np.array([0, 4, 2, 1]),
    confidence=np.array([np.nan, 0.4, 0.6, 0.9]),
    accuracy=np.array([np.nan, 0.75, 0.5, 0.0]),
)


def window(start, label, **probabilities):
    return Window(start, start + 3.0, label, probabilities[label], probabilities)


SPEECH = np.zeros(6 * 16_000, np.float32)
TIMELINE = Timeline(
    "talk.wav",
    (
        window(0.0, "sad", sad=0.7, happy=0.3),
        window(1.0, "sad", sad=0.6, happy=0.4),
        window(2.0, "happy", sad=0.2, happy=0.8),
        window(3.0, "happy", sad=0.1, happy=0.9),
    ),
)


def words(ticks):
    return tuple(tick.get_text() for tick in ticks)


@pytest.fixture(scope="module")
def matrix_axes():
    return confusion_matrix_figure(MATRIX, EMOTIONS).axes[0]


@pytest.fixture(scope="module")
def panels():
    return history_figure(HISTORY).axes


def test_every_cell_shows_its_count(matrix_axes):
    shown = {text.get_position(): text.get_text() for text in matrix_axes.texts}
    assert shown == {(column, row): str(count) for (row, column), count in np.ndenumerate(MATRIX)}


def test_the_first_true_emotion_stands_at_the_top(matrix_axes):
    assert matrix_axes.yaxis_inverted()


def test_shades_are_shares_of_the_row(matrix_axes):
    shades = matrix_axes.images[0].get_array()
    np.testing.assert_allclose(shades, [[0.8, 0.2, 0], [0.5, 0, 0.5], [0, 0, 0]])


def test_shades_mean_the_same_in_every_picture(matrix_axes):
    assert matrix_axes.images[0].get_clim() == (0, 1)


def test_rows_and_columns_carry_the_emotions(matrix_axes):
    assert words(matrix_axes.get_xticklabels()) == EMOTIONS
    assert words(matrix_axes.get_yticklabels()) == EMOTIONS


def test_rows_are_true_and_columns_predicted(matrix_axes):
    assert "true" in matrix_axes.get_ylabel()
    assert "predicted" in matrix_axes.get_xlabel()


@pytest.mark.parametrize("count", range(11))
def test_a_number_stands_out_from_its_shade(count):
    axes = confusion_matrix_figure(np.array([[count, 10 - count], [0, 0]]), EMOTIONS[:2]).axes[0]
    image = axes.images[0]
    shade = image.cmap(image.norm(count / 10))[:3]
    assert abs(np.mean(shade) - np.mean(to_rgb(axes.texts[0].get_color()))) > 0.3


def test_more_emotions_make_a_larger_picture():
    large = confusion_matrix_figure(np.eye(8, dtype=int), [f"emotion {number}" for number in range(8)])
    assert large.get_figwidth() > confusion_matrix_figure(MATRIX, EMOTIONS).get_figwidth()


def test_no_label_of_the_matrix_is_cut_off():
    figure = confusion_matrix_figure(np.eye(2, dtype=int), ("happy", "sad"))
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


@pytest.mark.parametrize(("panel", "key"), [(0, "loss"), (1, "uar")])
def test_a_panel_shows_training_and_validation_over_the_epochs(panels, panel, key):
    lines = {line.get_label(): line for line in panels[panel].lines}
    for name, values in (("training", HISTORY[key]), ("validation", HISTORY["val_" + key])):
        np.testing.assert_allclose(lines[name].get_xydata(), list(zip((1, 2, 3), values, strict=True)))


def test_panels_are_labelled(panels):
    assert [axes.get_ylabel() for axes in panels] == ["loss", "UAR"]
    assert [axes.get_xlabel() for axes in panels] == ["epoch", "epoch"]
    assert words(panels[0].get_legend().get_texts()) == ("training", "validation")


def test_the_best_epoch_is_marked(panels):
    assert panels[1].get_title() == "validation UAR 0.400 at the end, 0.600 in epoch 2"
    assert list(panels[1].lines[-1].get_xdata()) == [2, 2]


@pytest.mark.parametrize("num_epochs", [1, 2, 40])
def test_epochs_are_marked_in_whole_numbers(num_epochs):
    figure = history_figure({key: np.linspace(0.1, 0.9, num_epochs) for key in HISTORY})
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


def bars_of(axes):
    """Return left edge, lower and upper end of each bar."""
    return [(each.get_x(), each.get_y(), each.get_y() + each.get_height()) for each in axes.patches]


def test_a_bar_of_the_reliability_diagram_is_as_high_as_its_clips_are_right():
    bars = bars_of(reliability_figure(BINS).axes[0])[:3]
    np.testing.assert_allclose(bars, [(0.25, 0, 0.75), (0.5, 0, 0.5), (0.75, 0, 0)])


def test_the_difference_reaches_from_accuracy_to_confidence():
    bars = bars_of(reliability_figure(BINS).axes[0])[3:]
    np.testing.assert_allclose(bars, [(0.25, 0.75, 0.4), (0.5, 0.5, 0.6), (0.75, 0, 0.9)])


def test_the_clips_of_each_bin_stand_below():
    np.testing.assert_allclose(bars_of(reliability_figure(BINS).axes[1]), [(0.25, 0, 4), (0.5, 0, 2), (0.75, 0, 1)])


def test_the_reliability_diagram_says_what_its_axes_are():
    upper, lower = reliability_figure(BINS).axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("accuracy", "clips")
    assert lower.get_xlabel() == "probability of the predicted emotion"
    (legend,) = upper.figure.legends
    assert set(words(legend.get_texts())) == {"accuracy", "difference", "calibrated"}
    assert (upper.get_xlim(), upper.get_ylim()) == ((0, 1), (0, 1))


@pytest.fixture(scope="module")
def recording_axes():
    """Axes of waveform, spectrogram and attention."""
    axes = recording_figure(WAVEFORM, LOG_MEL, AUDIO, attention=ATTENTION).axes
    return {each.get_ylabel(): each for each in axes}


def image_of(axes):
    return axes.collections[0]


def test_waveform_attention_and_spectrogram_stand_over_one_axis_of_time(recording_axes):
    assert {"amplitude", "attention", "frequency, Hz", "level, dB"} == set(recording_axes)
    assert recording_axes["frequency, Hz"].get_xlabel() == "time, s"
    for name in ("amplitude", "attention", "frequency, Hz"):
        assert recording_axes[name].get_xlim() == (0, 1)


def test_the_waveform_keeps_its_peaks(recording_axes):
    low, high = np.array(recording_axes["amplitude"].dataLim.intervaly)
    assert (low, high) == (pytest.approx(WAVEFORM.min()), pytest.approx(WAVEFORM.max()))


def test_the_attention_is_drawn_at_its_seconds(recording_axes):
    np.testing.assert_allclose(recording_axes["attention"].lines[0].get_xydata(), np.stack(ATTENTION, axis=1))


def test_time_runs_to_the_right_and_frequency_upward(recording_axes):
    image = image_of(recording_axes["frequency, Hz"])
    np.testing.assert_array_equal(np.reshape(image.get_array(), (16, 101)), LOG_MEL.T)
    assert not recording_axes["frequency, Hz"].yaxis_inverted()


def test_a_band_is_drawn_at_its_frequency(recording_axes):
    import librosa

    centres = librosa.mel_frequencies(18, fmin=50, fmax=8_000)[1:-1]
    edges = image_of(recording_axes["frequency, Hz"]).get_coordinates()[:, 0, 1]
    assert np.all((edges[:-1] < centres) & (centres < edges[1:]))


def test_a_spectrogram_shows_eighty_decibels(recording_axes):
    assert image_of(recording_axes["frequency, Hz"]).get_clim() == (-80, 0)


def test_without_attention_none_is_drawn():
    labels = [axes.get_ylabel() for axes in recording_figure(WAVEFORM, LOG_MEL, AUDIO).axes]
    assert "attention" not in labels


@pytest.mark.parametrize("num_samples", [1, 159, 799, 801])
def test_a_short_recording_is_drawn_too(num_samples):
    figure = recording_figure(WAVEFORM[:num_samples], LOG_MEL[: 1 + num_samples // 160], AUDIO)
    figure.draw_without_rendering()


@pytest.fixture
def timeline_axes():
    return timeline_figure(SPEECH, 16_000, TIMELINE, attention=ATTENTION).axes


def test_a_waveform_stands_on_the_colours_of_its_emotions(timeline_axes):
    spans = [(each.get_x(), each.get_x() + each.get_width()) for each in timeline_axes[0].patches]
    names = {text.get_text(): text.get_position()[0] for text in timeline_axes[0].texts}
    assert spans == [(0.0, 3.0), (3.0, 6.0)]
    assert names == {"sad": 1.5, "happy": 4.5}


def test_the_colour_behind_a_waveform_is_that_of_the_emotion_below(timeline_axes):
    sad, happy = (tuple(each.get_facecolor()[0]) for each in timeline_axes[1].collections)
    assert [each.get_facecolor()[:3] for each in timeline_axes[0].patches] == [sad[:3], happy[:3]]


def test_each_emotion_is_as_high_as_it_is_probable(timeline_axes):
    _, happy = (each.get_paths()[0].vertices for each in timeline_axes[1].collections)
    found = [happy[np.isclose(happy[:, 0], end)][:, 1].min() for end in (0.0, 2.0, 3.0, 4.0)]
    assert found == pytest.approx([0.7, 0.6, 0.2, 0.1])


def test_a_timeline_shows_the_attention_that_is_given(timeline_axes):
    without = timeline_figure(SPEECH, 16_000, TIMELINE).axes
    assert [axes.get_ylabel() for axes in timeline_axes] == ["amplitude", "probability", "attention"]
    assert [axes.get_ylabel() for axes in without] == ["amplitude", "probability"]


def test_silence_in_a_timeline_has_no_colour():
    windows = (Window(0.0, 3.0, "", 0.0, {"sad": 0.0, "happy": 0.0}), window(3.0, "sad", sad=0.5, happy=0.5))
    pause, sad = timeline_figure(SPEECH, 16_000, Timeline("talk.wav", windows)).axes[0].patches
    assert pause.get_facecolor()[3] == 0 and sad.get_facecolor()[3] > 0


def test_a_name_that_has_no_room_is_left_to_the_key():
    windows = tuple(window(float(start), "sad" if start == 50 else "happy", sad=0.5, happy=0.5) for start in range(100))
    figure = timeline_figure(SPEECH, 16_000, Timeline("talk.wav", windows))
    assert [text.get_text() for text in figure.axes[0].texts] == ["happy", "happy"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sad", "happy"]


def test_nothing_is_the_middle_of_the_shades_of_an_attribution():
    low, high = image_of(attribution_figure(ATTRIBUTION, AUDIO).axes[0]).get_clim()
    assert low == -high and 0.029 < high <= 0.03


def test_an_attribution_of_nothing_is_drawn_too():
    attribution_figure(np.zeros((101, 16)), AUDIO).draw_without_rendering()


@pytest.mark.parametrize("name", ["$x$", "$\\bad$", "one\ntwo", "b\udcf6se", "<b>"])
def test_an_emotion_of_any_name_is_drawn(name, tmp_path):
    figure = confusion_matrix_figure(MATRIX[:2, :2], (name, "sad"))
    figure.savefig(tmp_path / "figure.svg")
    figure.savefig(tmp_path / "figure.png")
    (label, _) = words(figure.axes[0].get_yticklabels())
    assert label == {"one\ntwo": "one two", "b\udcf6se": "b\\udcf6se"}.get(name, name)


@pytest.mark.parametrize("name", ["$x$", "$\\bad$", "one\ntwo", "b\udcf6se", "<b>", "_hidden"])
def test_a_timeline_names_emotions_of_any_name(name, tmp_path):
    figure = timeline_figure(SPEECH, 16_000, Timeline(None, (window(0.0, name, **{name: 1.0}),)))
    figure.savefig(tmp_path / "figure.svg")
    assert len(figure.legends[0].get_texts()) == 1


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
@pytest.mark.parametrize(
    ("draw", "values"),
    [
        (confusion_matrix_figure, (MATRIX, EMOTIONS)),
        (history_figure, (HISTORY,)),
        (reliability_figure, (BINS,)),
        (recording_figure, (WAVEFORM, LOG_MEL, AUDIO)),
        (attribution_figure, (ATTRIBUTION, AUDIO)),
        (timeline_figure, (SPEECH, 16_000, TIMELINE)),
    ],
)
def test_a_figure_is_written_in_the_format_of_its_ending(tmp_path, draw, values, ending):
    path = tmp_path / f"figure.{ending}"
    draw(*values).savefig(path)
    assert ending.encode() in path.read_bytes()[:400].lower()


def test_no_window_is_opened():
    before = pyplot.get_fignums()
    confusion_matrix_figure(MATRIX, EMOTIONS)
    history_figure(HISTORY)
    reliability_figure(BINS)
    recording_figure(WAVEFORM, LOG_MEL, AUDIO, attention=ATTENTION)
    attribution_figure(ATTRIBUTION, AUDIO)
    timeline_figure(SPEECH, 16_000, TIMELINE)
    assert pyplot.get_fignums() == before
