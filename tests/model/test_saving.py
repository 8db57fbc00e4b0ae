"""Model files from somebody else: no code in them runs, and nothing but a ParallelModel is built."""

import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import SMALL

import ser_keras
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel, load_model, save_model


@pytest.fixture(scope="module")
def saved(restless_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    save_model(restless_model, path)
    return path


@pytest.fixture
def forge(saved, tmp_path):
    """Return a function that makes a copy of a model file with some members changed or added."""

    def make(**members):
        members = {name.replace("_", "."): content for name, content in members.items()}
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(tmp_path / "forged.keras", "w") as forged:
            for name, content in ({each: source.read(each) for each in source.namelist()} | members).items():
                forged.writestr(name, content)
        return tmp_path / "forged.keras"

    return make


def settings_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def test_a_model_comes_back_as_it_was(saved, restless_model, noise):
    loaded = load_model(saved)
    assert loaded.get_config() == restless_model.get_config()
    inputs = {"waveform": noise(16_000)[None], "num_samples": np.array([16_000], np.int32)}
    np.testing.assert_array_equal(loaded(inputs), restless_model(inputs))


@pytest.mark.parametrize(
    "config",
    [{}, {"fusion_weight": 0.0}, {"filter_db": 0.0, "num_masks": 0}],
)
def test_the_settings_of_every_network_are_plain_values(tmp_path, config):
    """A layer whose settings describe another object would have to be let through by `unpack_model_file`."""
    model = ParallelModel(3, config=SMALL.replace(**config), adaptation={"num_recordings": 3, "weight": 0.5})
    save_model(model, tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").get_config() == model.get_config()


def test_a_model_that_its_user_compiled_comes_back(tmp_path, small_model):
    small_model.compile(optimizer="adam", loss="categorical_crossentropy")
    save_model(small_model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    for mine, theirs in zip(loaded.get_weights(), small_model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_lambda_layer_never_runs(tmp_path):
    flag = tmp_path / "ran"
    run = eval(f"lambda x: __import__('pathlib').Path({str(flag)!r}).touch() or x")
    keras.Sequential([keras.Input((1,)), keras.layers.Lambda(run, output_shape=(1,))]).save(tmp_path / "model.keras")
    flag.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"model\.keras: holds a keras\.Sequential; expected a ParallelModel"):
        load_model(tmp_path / "model.keras")
    assert not flag.exists()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("TFSMLayer", {"filepath": "export", "call_endpoint": "serve"}),
        ("TorchModuleWrapper", {"module": "aGVsbG8="}),
        ("StringLookup", {"vocabulary": "/etc/passwd"}),
        ("Lambda", {"function": {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}}),
        ("Dense", {"units": 3, "kernel_initializer": {"module": "builtins", "class_name": "function"}}),
    ],
)
@pytest.mark.parametrize("is_whole", [True, False], ids=["alone", "in a ParallelModel"])
def test_no_layer_of_keras_is_built_from_a_file(forge, saved, monkeypatch, name, config, is_whole):
    layer = {"module": "keras.layers", "class_name": name, "config": {"name": "x", **config}, "registered_name": None}
    settings = settings_of(saved)
    settings["config"]["adaptation"] = {"layers": [layer]}
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(InputError, match=rf"keras\.layers\.{name}.*ParallelModel.*; it was not loaded"):
        load_model(forge(config_json=json.dumps(layer if is_whole else settings)))


def test_settings_of_compile_in_a_file_are_never_built(forge, saved, tmp_path):
    settings = settings_of(saved)
    settings["compile_config"] = {"optimizer": {"module": "os", "class_name": "mkdir", "config": str(tmp_path / "ran")}}
    settings["build_config"] = {"input_shape": {"module": "os", "class_name": "mkdir", "config": str(tmp_path / "ran")}}
    assert not load_model(forge(config_json=json.dumps(settings))).compiled
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "part",
    [
        {"module": "os", "class_name": "system", "registered_name": "system"},
        {"module": "builtins", "class_name": "function", "registered_name": "function"},
        {"module": "subprocess", "class_name": "run", "registered_name": "ser_keras>Temperature"},
        {"module": "keras.utils", "class_name": "get_file", "registered_name": None},
        {"module": None, "class_name": "Evil", "registered_name": "evil>Evil"},
        {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}},
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_a_class_that_is_not_ours_is_never_built(forge, saved, tmp_path, part, deep):
    part = {"config": {"command": f"touch {tmp_path / 'ran'}"}, **part}
    settings = settings_of(saved)
    settings["config"]["audio"] = [{"deep": part}]
    path = forge(config_json=json.dumps(settings if deep else part))
    with pytest.raises(InputError, match=r"expected a ParallelModel|are plain values"):
        load_model(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("num_emotions", 1, "at least 2 emotions"),
        ("num_emotions", "3", "cannot be loaded"),
        ("emotion", ["sad"], "emotion"),
        ("audio", {"sample_rate": "x"}, "cannot be loaded"),
        ("audio", 3, "cannot be loaded"),
        ("config", {"conv_filters": [64, 128]}, "cannot be loaded"),
    ],
)
def test_settings_that_cannot_work_are_one_line_with_the_file(forge, saved, name, value, reason):
    settings = settings_of(saved)
    settings["config"][name] = value
    with pytest.raises(InputError, match=rf"forged\.keras: .*{reason}") as error:
        load_model(forge(config_json=json.dumps(settings)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../escaped.txt", "/absolute.txt", "assets/../../escaped.txt", "extra.py"])
def test_members_that_a_model_does_not_have_are_refused(forge, tmp_path, name):
    with zipfile.ZipFile(forge(), "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(InputError, match=r"forged\.keras: holds .*; expected config\.json, metadata\.json, model\.w"):
        load_model(tmp_path / "forged.keras")
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_a_member_that_grows_a_thousandfold_is_refused(forge, saved):
    path = forge()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        archive.writestr("model.weights.h5", bytes(50_000_000))
    with pytest.raises(InputError, match=r"\d+ bytes that claim to be 50000004; it was not loaded"):
        load_model(path)


def test_an_archive_that_was_packed_again_is_still_a_model(forge, saved, restless_model):
    path = forge()
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    assert path.stat().st_size < saved.stat().st_size
    assert load_model(path).emotions == restless_model.emotions


@pytest.mark.parametrize("settings", ["[" * 100_000, "\x00", "null", "[1, 2]", "{}", '{"class_name": 3}', "1" * 5_000])
def test_settings_that_are_garbage_are_one_line(forge, settings):
    path = forge(config_json=settings)
    with pytest.raises(InputError, match=r"forged\.keras: ") as error:
        load_model(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_archive_is_one_line(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.keras: cannot be loaded .*; expected a model that save_model wrote"):
        load_model(tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_that_lie_in_another_file_are_not_read(forge, saved, tmp_path):
    np.full(100, 7, np.float32).tofile(tmp_path / "secret")
    weights = io.BytesIO(zipfile.ZipFile(saved).read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        name = next(each for each in _datasets(file) if file[each].shape == (3,))  # the bias of three emotions
        del file[name]
        file.create_dataset(name, (3,), np.float32, external=[(tmp_path / "secret", 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(forge(model_weights_h5=weights.getvalue()))


def _datasets(file):
    names = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def test_numpy_loads_no_pickle():
    """Every `np.load` of the package is of the default kind, which refuses pickled objects."""
    sources = [path.read_text(encoding="utf-8") for path in Path(ser_keras.__file__).parent.rglob("*.py")]
    assert not [text for text in sources if "allow_pickle=True" in text or "import pickle" in text]
