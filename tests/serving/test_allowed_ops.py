"""Exports from somebody else: a graph that does more than compute is never loaded."""

import importlib

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from ser_keras.config import ExportConfig
from ser_keras.errors import InputError
from ser_keras.inference import Predictor
from ser_keras.serving.allowed_ops import ALLOWED_OPS, check_graph
from ser_keras.serving.signatures import ServedModel


class Reader(tf.Module):
    """A model that gives away a file instead of an emotion."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, audio_bytes):
        return {"label": tf.map_fn(lambda _: tf.io.read_file("/etc/hostname"), audio_bytes)}


class Writer(tf.Module):
    """A model that writes a file where nobody sees it: in a branch of a branch."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, audio_bytes):
        def write():
            with tf.control_dependencies([tf.io.write_file("/tmp/escaped", audio_bytes[0])]):
                return tf.constant(1)

        return {"label": tf.cond(tf.size(audio_bytes) > 5, write, lambda: tf.constant(0))}


@pytest.mark.parametrize(("module", "op"), [(Reader, "ReadFile"), (Writer, "WriteFile")])
def test_a_graph_that_touches_files_is_never_loaded(tmp_path, exported, module, op, monkeypatch):
    hostile = module()
    tf.saved_model.save(hostile, str(tmp_path / "model"), signatures={"serving_default": hostile.serve})
    (tmp_path / "model" / "assets" / "model.json").write_bytes((exported / "assets" / "model.json").read_bytes())
    monkeypatch.setattr(tf.saved_model, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InputError, match=f"its graph holds .*{op}.*it was not loaded"):
        Predictor(tmp_path / "model")


def test_a_function_that_bears_the_name_of_an_allowed_operation_is_looked_into(tmp_path, exported):
    """TensorFlow calls a function of the graph before an operation of its own that has the same name."""
    hostile = Writer()
    tf.saved_model.save(hostile, str(tmp_path), signatures={"serving_default": hostile.serve})
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    writers = {each.signature.name for each in functions if any(node.op == "WriteFile" for node in each.node_def)}
    for function in functions:
        for node in function.node_def:
            for value in list(node.attr.values()):
                if value.func.name in writers:
                    node.op = "Neg"
                    node.attr.clear()
        if function.signature.name in writers:
            function.signature.name = "Neg"
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(InputError, match="WriteFile"):
        check_graph(tmp_path)


def test_a_model_that_was_built_beside_a_gpu_is_served_without_one(small_model, monkeypatch):
    """Keras takes the kernels of cuDNN, which exist on GPUs alone, where it sees one."""
    monkeypatch.setattr(importlib.import_module("keras.src.backend.tensorflow.rnn"), "_is_gpu_available", lambda: True)
    graph = ServedModel(small_model, ExportConfig()).signatures()["serving_default"].graph.as_graph_def()
    ops = {node.op for part in (graph.node, *(each.node_def for each in graph.library.function)) for node in part}
    assert "While" in ops and not ops - ALLOWED_OPS - {each.signature.name for each in graph.library.function}


def ops_of(function):
    graph = function.graph.as_graph_def()
    return {node.op for part in (graph.node, *(each.node_def for each in graph.library.function)) for node in part}


@pytest.mark.parametrize("sees_a_gpu", [True, False])
def test_the_lstm_trains_by_cudnn_where_there_is_a_gpu_and_answers_without(small_model, monkeypatch, sees_a_gpu):
    """Nothing is run: the graphs are looked at."""
    rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(rnn, "_is_gpu_available", lambda: sees_a_gpu)
    inputs = {"waveform": tf.TensorSpec([2, 16_000]), "num_samples": tf.TensorSpec([2], tf.int32)}

    def step(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(small_model(inputs, training=True))
        return tape.gradient(loss, [each.value for each in small_model.trainable_variables])

    def answer(inputs):
        return small_model(inputs, training=False)

    for _ in range(2):  # one graph does not leave its kernel to the next
        assert ("CudnnRNNBackpropV3" in ops_of(tf.function(step).get_concrete_function(inputs))) == sees_a_gpu
        assert not {op for op in ops_of(tf.function(answer).get_concrete_function(inputs)) if "Cudnn" in op}


def test_every_export_holds_allowed_operations_only(exported):
    check_graph(exported)
    assert ALLOWED_OPS.isdisjoint(
        {"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "RestoreV2", "SaveV2", "PrintV2"}
    )


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x01"])
def test_a_graph_that_is_damaged_is_one_line(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(InputError, match=r"saved_model\.pb: "):
        check_graph(tmp_path)
