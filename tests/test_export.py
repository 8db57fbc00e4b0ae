"""export_model: its files, its check, and that nothing is overwritten."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import yaml
from conftest import stir
from google.protobuf import text_format
from serving_messages import BatchingParameters, MonitoringConfig
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from ser_keras import export
from ser_keras.adaptation import adapt_normalization
from ser_keras.errors import InputError
from ser_keras.evaluation import evaluate_model
from ser_keras.export import export_model
from ser_keras.model import ParallelModel
from ser_keras.serving import parity_check as export_check

WITHOUT_KERAS = """
import sys
for name in ("keras", "tf_keras", "ser_keras", "tensorflow_io", "librosa"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
contents = [open(path, "rb").read() for path in sys.argv[3:]]
np.save(sys.argv[2], served(audio_bytes=tf.constant(contents))["probabilities"].numpy())
"""


@pytest.fixture(autouse=True)
def _checked(monkeypatch):
    """Look at what is written, which all other tests skip."""
    monkeypatch.setattr(export, "check_export", export_check.check_export)


@pytest.fixture
def unchecked(monkeypatch):
    """Skip the check of the export, which takes another process."""
    monkeypatch.setattr(export, "check_export", lambda *_: export_check.Agreement(0.0, 1e-5, "CPU"))


@pytest.mark.slow
def test_the_export_alone_gives_what_evaluate_model_gave(restless_model, exported, splits, tmp_path):
    report = evaluate_model(restless_model, splits.test)
    paths = [str(each.path) for each in splits.split.test]
    command = [sys.executable, "-c", WITHOUT_KERAS, str(exported), str(tmp_path / "out.npy"), *paths]
    subprocess.run(command, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), report.probabilities, atol=1e-5)


@pytest.mark.slow
def test_the_packaged_encoder_is_exported_in_less_than_20_mb(noise, tmp_path):
    """And what is written gives what the model gives."""
    model = ParallelModel.from_preset("whisper-tiny.en", 3, emotions=("neutral", "sad", "angry"))
    stir(model, [noise(size, seed=size) for size in range(4_000, 24_000, 2_000)])
    version = export_model(model, tmp_path / "ser")
    assert sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) < 20e6


def test_the_graph_holds_core_ops_only(served):
    for function in served.signatures.values():
        graph = function.graph.as_graph_def()
        ops = {node.op for node in graph.node}
        ops |= {node.op for inner in graph.library.function for node in inner.node_def}
        assert not {op for op in ops if op.startswith("IO>") or "PyFunc" in op}
        assert "RFFT" in ops


def test_each_signature_is_saved_once(exported):
    saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    names = [function.signature.name for function in saved.meta_graphs[0].graph_def.library.function]
    for method in ("classify_wav", "classify_waveform", "embed_wav", "timeline"):
        assert len([name for name in names if re.fullmatch(rf"__inference_{method}_\d+", name)]) == 1


def test_names_and_recipe_are_assets(restless_model, exported):
    assert (exported / "assets" / "labels.txt").read_text() == "neutral\nsad\nangry\n"
    facts = json.loads((exported / "assets" / "model.json").read_text())
    assert facts["emotions"] == ["neutral", "sad", "angry"]
    assert facts["audio"] == restless_model.audio.to_dict() and facts["model"] == restless_model.config.to_dict()
    assert facts["serving"]["max_seconds"] == 20.0


def warmup_requests(directory):
    records = tf.data.TFRecordDataset(str(directory / "assets.extra" / "tf_serving_warmup_requests"))
    return [prediction_log_pb2.PredictionLog.FromString(each.numpy()).predict_log.request for each in records]


def test_warm_up_plays_every_signature_at_every_batch_size(exported, served):
    seen = set()
    for request in warmup_requests(exported):
        assert request.model_spec.name == "ser"
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        answer = served(request.model_spec.signature_name, **inputs)
        assert set(answer["error"]) == {b""}
        seen.add((request.model_spec.signature_name, len(answer["error"])))
    signatures = ("serving_default", "waveform", "timeline", "embedding")
    assert seen == {(signature, size) for signature in signatures for size in (1, 4)}


def test_the_server_finds_the_model_where_its_configuration_says(exported):
    text = (exported.parent / "models.config").read_text()
    (entry,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (entry.name, entry.base_path, entry.model_platform) == ("ser", "/models/ser", "tensorflow")
    compose = yaml.safe_load((exported.parent / "docker-compose.yml").read_text())
    service = compose["services"]["ser"]
    assert service["image"].startswith("tensorflow/serving:") and ".:/models/ser:ro" in service["volumes"]
    named = [word.partition("=")[2] for word in service["command"] if "file=" in word]
    assert [each.rpartition("/")[0] for each in named] == ["/models/ser"] * 3
    assert all((exported.parent / each.rpartition("/")[2]).is_file() for each in named)


def test_the_server_is_reached_from_its_own_machine_alone(exported):
    compose = yaml.safe_load((exported.parent / "docker-compose.yml").read_text())
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert sorted(ports) == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


def test_monitoring_is_configured(exported):
    text = (exported.parent / "monitoring.config").read_text()
    config = text_format.Parse(text, MonitoringConfig())
    assert config.prometheus_config.enable and config.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_batches_are_filled_to_the_sizes_that_are_warm(exported):
    config = text_format.Parse((exported.parent / "batching.config").read_text(), BatchingParameters())
    assert list(config.allowed_batch_sizes) == [1, 4]
    assert config.max_batch_size.value == config.allowed_batch_sizes[-1]
    assert config.pad_variable_length_inputs


def test_the_next_version_takes_the_next_number(restless_model, unchecked, tmp_path):
    for name in ("2", "9", "10", "notes", ".version-left"):
        (tmp_path / "ser" / name).mkdir(parents=True)
    assert export_model(restless_model, tmp_path / "ser").name == "11"
    names = {each.name for each in (tmp_path / "ser").iterdir()}
    assert names == {"2", "9", "10", "11", "notes", ".version-left", *export.SERVER_FILES}


def test_a_number_taken_meanwhile_is_left_alone(restless_model, unchecked, tmp_path, monkeypatch):
    def intrude(module, facts, part):
        (tmp_path / "ser" / "1").mkdir()
        (tmp_path / "ser" / "1" / "saved_model.pb").write_bytes(b"of another")
        (part / "assets.extra").mkdir()

    monkeypatch.setattr(export, "_save", intrude)
    numbers = iter([1, 2])
    monkeypatch.setattr(export, "_next_version", lambda base: next(numbers))
    assert export_model(restless_model, tmp_path / "ser").name == "2"
    assert (tmp_path / "ser" / "1" / "saved_model.pb").read_bytes() == b"of another"


def test_a_changed_server_file_is_kept(restless_model, unchecked, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_save", lambda module, facts, part: (part / "assets.extra").mkdir())
    export_model(restless_model, tmp_path / "ser")
    (tmp_path / "ser" / "batching.config").write_text("# mine")
    export_model(restless_model, tmp_path / "ser")
    assert (tmp_path / "ser" / "batching.config").read_text() == "# mine"


def test_an_existing_version_is_never_overwritten(restless_model, exported):
    before = sorted(path.stat().st_mtime_ns for path in exported.rglob("*"))
    with pytest.raises(InputError, match="another directory"):
        export_model(restless_model, exported)
    assert sorted(path.stat().st_mtime_ns for path in exported.rglob("*")) == before


@pytest.mark.slow
def test_an_export_that_gives_something_else_is_refused(restless_model, exported):
    kernel = restless_model.get_layer("logits").kernel
    kernel.assign(kernel * 1.01)
    try:
        with pytest.raises(InputError, match="differs by"):
            export_check.check_export(restless_model, exported)
    finally:
        kernel.assign(kernel / 1.01)


@pytest.mark.slow
def test_an_export_within_the_tolerance_passes(restless_model, exported):
    found = export_check.check_export(restless_model, exported)
    assert found.difference <= found.tolerance and (found.tolerance, found.device) == (1e-5, "CPU")


@pytest.mark.parametrize(("window_seconds", "is_equal"), [(1.0, True), (0.5, False)])
def test_a_timeline_is_compared_by_its_first_window(restless_model, exported, monkeypatch, window_seconds, is_equal):
    """Windows shorter than the clips of the check are no difference."""
    model, windows = restless_model, [clip[:16_000] for clip in export_check.sample_clips(16_000).values()]
    outputs = np.stack([export_check._live(model, window)[0] for window in windows])
    monkeypatch.setattr(export_check, "_served", lambda *_: {"timeline": outputs})
    monkeypatch.setattr(export_check, "read_recipe", lambda _: {"serving": {"window_seconds": window_seconds}})
    if is_equal:
        assert export_check.check_export(model, exported).difference == 0
    else:
        with pytest.raises(InputError, match="timeline"):
            export_check.check_export(model, exported)


def differing_by(model, difference):
    """Outputs of an export that differ from the model's by this much."""
    outputs = np.stack([export_check._live(model, clip)[0] for clip in export_check.sample_clips(16_000).values()])
    return {"waveform": outputs + np.float32(difference)}


@pytest.mark.parametrize(
    ("has_gpu", "difference", "is_equal"), [(False, 5e-5, False), (True, 5e-5, True), (True, 5e-4, False)]
)
def test_the_check_knows_what_its_device_can_do(restless_model, exported, monkeypatch, has_gpu, difference, is_equal):
    outputs = differing_by(restless_model, difference)
    monkeypatch.setattr(export_check, "_served", lambda *_: outputs)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"] if has_gpu else [])
    if is_equal:
        found = export_check.check_export(restless_model, exported)
        assert (found.tolerance, found.device) == (1e-4, "GPU")
    else:
        with pytest.raises(InputError, match="GPU" if has_gpu else "CPU"):
            export_check.check_export(restless_model, exported)


@pytest.mark.parametrize("before", [True, False])
def test_the_check_computes_in_full_float32_and_restores_the_setting(restless_model, exported, monkeypatch, before):
    setting, used = tf.config.experimental.tensor_float_32_execution_enabled, []
    live, outputs = export_check._live, differing_by(restless_model, 0.0)
    monkeypatch.setattr(export_check, "_live", lambda *arguments: used.append(setting()) or live(*arguments))
    monkeypatch.setattr(export_check, "_served", lambda *_: outputs)
    tf.config.experimental.enable_tensor_float_32_execution(before)
    try:
        export_check.check_export(restless_model, exported)
        assert set(used) == {False} and setting() == before
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def test_an_export_that_fails_its_check_leaves_no_version(restless_model, tmp_path, monkeypatch):
    def refuse(model, directory):
        assert (directory / "saved_model.pb").is_file()
        raise InputError("the exported graph is not the model")

    monkeypatch.setattr(export, "_save", lambda module, facts, part: _pretend(part))
    monkeypatch.setattr(export, "check_export", refuse)
    with pytest.raises(InputError, match="is not the model"):
        export_model(restless_model, tmp_path / "ser")
    assert list((tmp_path / "ser").iterdir()) == []


def _pretend(part):
    (part / "saved_model.pb").write_bytes(b"")
    (part / "assets.extra").mkdir()


class WithPython(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, audio_bytes):
        return tf.numpy_function(len, [audio_bytes], tf.int64)


def test_a_graph_that_runs_python_is_refused(restless_model, tmp_path):
    module = WithPython()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.serve)
    with pytest.raises(InputError, match="holds PyFunc"):
        export_check.check_export(restless_model, tmp_path / "1")


@pytest.mark.slow
def test_a_graph_that_tensorflow_alone_cannot_load_is_refused(restless_model, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "variables")
    with pytest.raises(InputError, match=r"cannot be run by TensorFlow alone: .*; nothing was exported"):
        export_check.check_export(restless_model, tmp_path / "1")


def test_the_model_card_names_what_is_not_recorded(exported):
    card = (exported / "README.md").read_text()
    assert card.startswith("# ser, version 1\n") and "neutral, sad, angry" in card
    assert card.count("Not recorded") == 2  # data and score


def test_the_model_card_shows_a_report(restless_model, splits, unchecked, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_save", lambda module, facts, part: (part / "assets.extra").mkdir())
    report = evaluate_model(restless_model, splits.test)
    card = (export_model(restless_model, tmp_path / "ser", report=report) / "README.md").read_text()
    assert f"| {report.unweighted_average_recall:.3f} | {report.interval_note} |" in card
    assert f"| sad | {report.classes['sad']['recall']:.3f} |" in card


def test_the_model_card_shows_the_caveats_of_a_score(restless_model, splits, unchecked, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_save", lambda module, facts, part: (part / "assets.extra").mkdir())
    adapted = adapt_normalization(restless_model, splits.test)
    report = dataclasses.replace(evaluate_model(adapted, splits.test), caveats=("transductive: adapted",))
    card = (export_model(adapted, tmp_path / "ser", report=report) / "README.md").read_text()
    assert "transductive: adapted" in card and f"{len(report.labels)} recordings" in card


@pytest.mark.parametrize("name", ["../ser", ""])
def test_a_name_that_no_address_can_hold_is_refused(restless_model, tmp_path, name):
    with pytest.raises(InputError, match="letters, digits"):
        export_model(restless_model, tmp_path / "ser", name=name)


def test_a_folder_with_a_strange_name_gives_the_model_a_plain_one(restless_model, unchecked, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_save", lambda module, facts, part: (part / "assets.extra").mkdir())
    export_model(restless_model, tmp_path / 'my "best" model')
    assert 'name: "my-best-model"' in (tmp_path / 'my "best" model' / "models.config").read_text()


def test_a_failed_export_leaves_nothing(restless_model, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(InputError, match=r"ser: .*No space left on device"):
        export_model(restless_model, tmp_path / "ser" / "1")
    assert list((tmp_path / "ser").iterdir()) == []


def test_a_full_disk_is_one_line(restless_model, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "part/variables; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(InputError, match=r"ser: .*No space left on device"):
        export_model(restless_model, tmp_path / "ser" / "1")
    assert list((tmp_path / "ser").iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(restless_model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/ser: "):
        export_model(restless_model, tmp_path / "file" / "ser" / "1")


def test_a_model_without_names_is_refused(tmp_path):
    with pytest.raises(InputError, match="emotions"):
        export_model(ParallelModel(3), tmp_path / "1")
