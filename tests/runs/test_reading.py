"""Damaged JSON files of this package."""

import pytest

from ser_keras.errors import InputError
from ser_keras.runs.reading import read_json, read_recipe
from ser_keras.serving.model_card import read_run

GARBAGE = ["", "\x00", "null", "[]", '"text"', "{", "[" * 100_000, "9" * 5_000]


@pytest.mark.parametrize("content", GARBAGE)
def test_json_that_is_garbage_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json: .*a run directory") as error:
        read_json(tmp_path / "config.json", "a run directory")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [*GARBAGE, "{}", '{"emotions": 3, "audio": {}, "serving": {}}'])
def test_a_recipe_that_is_garbage_is_one_line(tmp_path, content):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "model.json").write_text(content)
    with pytest.raises(InputError, match=r"model\.json: .*an export of ser_keras"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("config", [*GARBAGE, "{}", '{"dataset_path": 3, "data": []}', '{"dataset_path": [[]]}'])
def test_a_run_directory_whose_settings_are_garbage_is_one_line(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "split.csv").write_text("path,emotion,speaker,subset\na.wav,sad,b,train\n")
    with pytest.raises(InputError, match="config"):
        read_run(tmp_path)
