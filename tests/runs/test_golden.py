"""Run directories of every format are read, with the output that they had when they were new."""

import json

import golden
import numpy as np
import pytest

from ser_keras.errors import InputError
from ser_keras.inference import Predictor
from ser_keras.model import load_model
from ser_keras.runs.reading import FORMAT_VERSION
from ser_keras.serving.model_card import read_run

ARCHIVES = sorted(golden.FOLDER.glob("format_*.tar.xz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def run(request, tmp_path):
    return golden.unpack(request.param, tmp_path)


def test_every_format_has_its_golden_run():
    expected = [f"format_{version}.tar.xz" for version in range(1, FORMAT_VERSION + 1)]
    assert [path.name for path in ARCHIVES] == expected
    assert sum(path.stat().st_size for path in ARCHIVES) < 500_000 * FORMAT_VERSION


def test_the_keras_model_of_a_golden_run_gives_what_it_gave(run):
    directory, expected = run
    model = load_model(directory)
    inputs = {"waveform": golden.waveform()[None], "num_samples": np.array([16_000], np.int32)}
    given = dict(zip(model.emotions, np.asarray(model(inputs, training=False))[0], strict=True))
    assert given == pytest.approx(expected, abs=1e-5)


def test_the_export_of_a_golden_run_gives_what_it_gave(run, tmp_path):
    directory, expected = run
    (tmp_path / "golden.wav").write_bytes(golden.wav())
    given = Predictor(directory / "export" / "1").predict(tmp_path / "golden.wav").probabilities
    assert given == pytest.approx(expected, abs=1e-5)


def test_data_and_score_of_a_golden_run_are_read(run):
    facts = read_run(run[0])
    assert facts["data"]["corpora"] == ["corpus"] and facts["data"]["protocol"] == "speakers apart"
    assert [subset["num_clips"] for subset in facts["data"]["subsets"]] == [6, 6, 6]
    assert 0 <= facts["metrics"]["unweighted_average_recall"] <= 1


def test_a_golden_run_prefers_one_emotion_and_is_unsure(run):
    assert max(run[1].values()) - min(run[1].values()) > 0.01
    assert max(run[1].values()) < 0.95  # a model that is sure of itself would say the same whatever is wrong with it


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.json", load_model),
        ("config.json", read_run),
        ("export/1/assets/model.json", lambda directory: Predictor(directory / "export" / "1")),
    ],
)
@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, "2024", None])
def test_what_a_newer_version_wrote_is_refused_with_its_number(tmp_path, name, read, version):
    directory, _ = golden.unpack(ARCHIVES[-1], tmp_path)
    facts = json.loads((directory / name).read_text())
    assert facts["format_version"] == FORMAT_VERSION
    changed = {**facts, "format_version": version, "versions": {"ser_keras": "7.1.0"}}
    (directory / name).write_text(json.dumps(changed))
    with pytest.raises(InputError, match=rf"{name}: .*{version!r}.*7\.1\.0 or newer"):
        read(directory)
