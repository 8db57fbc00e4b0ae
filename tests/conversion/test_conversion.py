import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from ser_keras import conversion
from ser_keras.conversion import PRECISIONS, conversion_table, convert_model, formats, graph
from ser_keras.errors import InputError
from ser_keras.layers.log_mel import LogMelSpectrogram
from ser_keras.model import ParallelModel

FILES = [f"model_{precision}.{format}" for format in ("tflite", "onnx") for precision in PRECISIONS]
TOLERANCES = {
    "float32": 1e-4,  # 4e-6 was seen
    "float16": 1e-3,  # weights are off by 2^-12; 3e-4 was seen
    "int8": 2e-2,  # weights and the inputs of products are off by 2^-8; 5e-3 was seen
}


@pytest.fixture(scope="module")
def model(restless_model):
    return restless_model


@pytest.fixture(scope="module")
def converted(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("converted") / "ser"
    return directory, convert_model(model, directory)


def run(path, waveform, num_samples):
    """Return all outputs of a file by their names."""
    inputs = {"waveform": waveform, "num_samples": np.array(num_samples, np.int32)}
    if path.suffix == ".tflite":
        return tf.lite.Interpreter(str(path)).get_signature_runner()(**inputs)
    import onnxruntime

    names = ["probabilities", "attention"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, inputs), strict=True))


def sweep(num_samples):
    """Return a rising tone with a long fade: loud and quiet, in all bands."""
    time = np.arange(num_samples) / 16_000
    return (np.sin(2 * np.pi * (100 + 1_000 * time) * time) * np.exp(-2 * time)).astype(np.float32)[None]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("num_samples", [100, 8_000, 20_319, 96_000])
def test_a_file_gives_what_the_live_model_gives(model, converted, file, num_samples):
    precision = file.removeprefix("model_").partition(".")[0]
    waveform = sweep(num_samples)
    live = model.details({"waveform": waveform, "num_samples": np.array([num_samples])})
    given = run(converted[0] / file, waveform, [num_samples])
    for name in ("probabilities", "attention"):
        np.testing.assert_allclose(given[name], live[name], atol=TOLERANCES[precision], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_samples_behind_the_clip_are_ignored(converted, file):
    clip = sweep(9_001)
    longer = np.concatenate([clip, np.full((1, 7_000), 0.9, np.float32)], axis=1)
    alone, padded = run(converted[0] / file, clip, [9_001]), run(converted[0] / file, longer, [9_001])
    np.testing.assert_allclose(padded["probabilities"], alone["probabilities"], atol=TOLERANCES["float32"])


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model_float32.tflite", "model_float32.onnx"])
@pytest.mark.parametrize(("length", "taken_for"), [(99_999, 9_001), (-5, 0)])
def test_a_length_that_cannot_be_is_the_nearest_that_can(converted, file, length, taken_for):
    clip = sweep(9_001)
    given, nearest = run(converted[0] / file, clip, [length]), run(converted[0] / file, clip, [taken_for])
    np.testing.assert_array_equal(given["probabilities"], nearest["probabilities"])


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model_float32.onnx", "model_float16.onnx"])
def test_onnx_takes_batches(converted, file, noise):
    batch = np.stack([noise(12_000), noise(12_000, seed=1)])
    lengths = [12_000, 5_000]
    together = run(converted[0] / file, batch, lengths)["probabilities"]
    for row, length in enumerate(lengths):
        alone = run(converted[0] / file, batch[row : row + 1, :length], [length])["probabilities"]
        np.testing.assert_allclose(together[row], alone[0], atol=TOLERANCES["float32"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorflow_lite_needs_its_own_operations_only(converted, precision, capsys):
    tf.lite.experimental.Analyzer.analyze(str(converted[0] / f"model_{precision}.tflite"))
    listing = capsys.readouterr().out
    assert "RFFT2D" in listing and "WHILE" in listing
    assert "Flex" not in listing and "CUSTOM" not in listing.upper()


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_needs_standard_operations_only(converted, precision):
    import onnx

    model = onnx.load(converted[0] / f"model_{precision}.onnx")
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert {each.version for each in model.opset_import if not each.domain} == {17}


@pytest.mark.slow
def test_a_lower_precision_is_a_smaller_file(converted):
    float32, float16, int8 = ((converted[0] / f"model_{precision}.tflite").stat().st_size for precision in PRECISIONS)
    assert int8 < float16 < float32


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_onnx_stores_weights_in_the_precision_and_features_in_float32(converted, precision):
    import onnx

    weights = onnx.load(converted[0] / f"model_{precision}.onnx").graph.initializer
    stored = {onnx.helper.tensor_dtype_to_np_dtype(each.data_type).name for each in weights}
    largest = max(weights, key=lambda each: len(each.raw_data))
    assert precision in stored
    assert largest.data_type == onnx.TensorProto.FLOAT and list(largest.dims) == [514, 1, 1, 512]


@pytest.mark.slow
def test_onnx_carries_names_and_recipe(model, converted):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(converted[0] / "model_int8.onnx"), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["emotions"]) == ["neutral", "sad", "angry"]
    assert json.loads(about["audio"]) == model.audio.to_dict()
    assert [each.shape for each in session.get_inputs()] == [["batch", "time"], ["batch"]]


@pytest.mark.slow
def test_names_and_recipe_are_beside_the_files(model, converted):
    facts = json.loads((converted[0] / "model.json").read_text())
    assert (converted[0] / "labels.txt").read_text() == "neutral\nsad\nangry\n"
    assert facts["emotions"] == ["neutral", "sad", "angry"] and facts["audio"] == model.audio.to_dict()
    assert facts["inputs"]["waveform"]["shape"] == ["batch", "time"]
    assert facts["outputs"]["probabilities"]["shape"] == ["batch", 3]


@pytest.mark.slow
def test_the_table_is_beside_the_files(converted):
    directory, rows = converted
    assert [(row.format, row.precision) for row in rows] == [
        ("tensorflow", "float32"),
        *((format, precision) for format in ("tflite", "onnx") for precision in PRECISIONS),
    ]
    assert [row.file for row in rows[1:]] == FILES
    assert all(row.max_difference < 0.1 and row.label_agreement > 0.9 and row.latency_ms > 0 for row in rows)
    written = json.loads((directory / "conversions.json").read_text())
    assert [each["label_agreement"] for each in written] == [row.label_agreement for row in rows]
    assert conversion_table(rows) in (directory / "README.md").read_text()
    expected = {"labels.txt", "model.json", "conversions.json", "README.md", *FILES}
    assert {path.name for path in directory.iterdir()} == expected
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


@pytest.mark.slow
def test_the_model_is_left_as_it_was(small_model, noise, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "PRECISIONS", ("float32",))
    inputs = {"waveform": noise(8_000)[None], "num_samples": np.array([8_000])}
    before = small_model(inputs).numpy()
    convert_model(small_model, tmp_path / "ser", formats=["tflite"])
    np.testing.assert_array_equal(small_model.details(inputs)["probabilities"], before)
    small_model.save(tmp_path / "model.keras")


@pytest.mark.slow
def test_a_failed_conversion_names_its_operations_and_leaves_the_others(model, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setattr(conversion, "PRECISIONS", ("float32",))
    monkeypatch.setitem(graph._FRONT_ENDS, "onnx", LogMelSpectrogram.from_config)
    _, tflite, onnx = convert_model(model, tmp_path / "ser")
    assert onnx.error == "the runtime has no Imag, RFFT, Real" and onnx.file is None
    assert tflite.error == "" and (tmp_path / "ser" / tflite.file).exists()
    assert not list((tmp_path / "ser").glob("*.onnx"))
    assert f"| onnx | float32 | {onnx.error} |" in (tmp_path / "ser" / "README.md").read_text()
    assert capfd.readouterr() == ("", "") and caplog.records == []  # converters log hundreds of lines


@pytest.mark.slow
def test_nothing_is_left_where_nothing_converts(model, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "PadTime", ())  # no layer is one: the padding of the spectrogram stays
    with pytest.raises(
        InputError, match=r"nothing could be converted: tflite float32: the runtime has no Conv2D(, Pad)?; "
    ):
        convert_model(model, tmp_path / "ser", formats=["tflite"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_conversion_that_gives_something_else_is_no_conversion(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "PRECISIONS", ("float32", "int8"))
    other = {"tflite": lambda config: graph._Float32LogMel.from_config({**config, "log_offset": 1e-3})}
    monkeypatch.setattr(graph, "_FRONT_ENDS", graph._FRONT_ENDS | other)
    _, float32, int8 = convert_model(small_model, tmp_path / "ser", formats=["tflite"])
    assert float32.error.startswith("its probabilities differ from the model's by 0.") and int8.max_difference > 1e-2
    assert [path.name for path in (tmp_path / "ser").glob("*.tflite")] == ["model_int8.tflite"]


def test_a_full_disk_is_one_line(model, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats.TensorFlowLite, "write", fail)
    with pytest.raises(InputError, match=r"ser: cannot be written \(No space left on device\)"):
        convert_model(model, tmp_path / "ser", formats=["tflite"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_existing_directory_is_refused(model, converted):
    with pytest.raises(InputError, match="ser: exists already; give another directory"):
        convert_model(model, converted[0])


def test_an_unknown_format_is_refused(model, tmp_path):
    with pytest.raises(InputError, match=r"formats=\('coreml',\): expected some of tflite, onnx"):
        convert_model(model, tmp_path / "ser", formats=["coreml"])


def test_a_model_without_names_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not know the names of its emotions"):
        convert_model(ParallelModel(3), tmp_path / "ser")


def test_a_missing_package_is_named_with_its_remedy(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"tf2onnx.*pip install 'ser-keras\[convert\]'"):
        convert_model(model, tmp_path / "ser")
    assert list(tmp_path.iterdir()) == []
