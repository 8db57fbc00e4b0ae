from pathlib import Path

import numpy as np
import pytest

from ser_keras.predictions import Prediction, Timeline, Window, mean_prediction


def test_answers_read_well():
    window = Window(0.0, 2.0, "sad", 0.75, {})
    assert str(Prediction(None, "sad", 0.75)) == "sad (0.75)"
    assert str(Prediction(Path("a.wav"), error="silent")) == "a.wav: silent"
    assert str(Timeline("a.wav", (window, window))) == "a.wav:\n  0.0 to 2.0 s: sad (0.75)\n  0.0 to 2.0 s: sad (0.75)"
    assert str(Timeline("a.wav", error="silent")) == "a.wav: silent"
    assert "attention" not in repr(Prediction("a.wav", attention=np.zeros(1_000)))


@pytest.mark.parametrize(("below", "abstained"), [(0.0, False), (0.75, False), (0.76, True)])
def test_a_threshold_can_be_set_afterwards(below, abstained):
    assert Prediction("a.wav", "sad", 0.75).abstain(below).abstained is abstained


def test_windows_without_a_label_do_not_count_in_the_mean():
    spoken, pause = Window(0.0, 3.0, "sad", 0.75, {"sad": 0.75}), Window(1.0, 4.0, "", 0.0, {"sad": 0.0})
    assert mean_prediction(None, [pause, spoken, pause]) == Prediction(None, "sad", 0.75, {"sad": 0.75})
    assert mean_prediction(None, [pause, pause]).error.startswith("silent: ")
    assert mean_prediction(None, []).error.startswith("empty: ")
    assert str(pause) == "1.0 to 4.0 s: nothing to label" and not pause.abstain(0.9).abstained


def test_what_has_an_error_does_not_abstain():
    assert not Prediction("a.wav", error="silent").abstain(0.9).abstained
