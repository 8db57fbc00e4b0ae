"""Writers and runners of each format."""

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import tensorflow as tf

from ser_keras.conversion.graph import OUTPUTS, classifier, freeze, signature
from ser_keras.conversion.trial import Classify
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel

_OPSET = 17
_MIN_WEIGHTS = 1024  # a smaller constant stays float32, as in TensorFlow Lite's converter


class TensorFlowLite:
    """Files for TensorFlow Lite, with built-in operations only."""

    format = "tflite"

    def __init__(self, model: ParallelModel):
        self._model = model

    @cached_property
    def _function(self):
        frozen = freeze(classifier(self._model, self.format, batch=1))  # its loops need a fixed batch

        @tf.function(input_signature=signature(1), autograph=False)
        def named(waveform, num_samples):
            return dict(zip(OUTPUTS, frozen(waveform, num_samples), strict=True))

        return named.get_concrete_function()

    def write(self, path: Path, precision: str) -> None:
        """Convert, and write the file."""
        converter = tf.lite.TFLiteConverter.from_concrete_functions([self._function], tf.Module())
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())

    def load(self, path: Path) -> Classify:
        """Return the file as a function that runs on one thread."""
        run = tf.lite.Interpreter(str(path), num_threads=1).get_signature_runner()
        return lambda waveform, num_samples: run(waveform=waveform, num_samples=num_samples)["probabilities"][0]


class Onnx:
    """Files for the runtimes of ONNX, with standard operations only."""

    format = "onnx"

    def __init__(self, model: ParallelModel):
        self._model = model
        self._onnx, self._tf2onnx, self._runtime, self._quantization = onnx_packages()

    @cached_property
    def _proto(self):
        frozen = freeze(classifier(self._model, self.format))
        names = ["waveform", "num_samples", *OUTPUTS]
        proto, _ = self._tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(add_shapes=True),
            input_names=[tensor.name for tensor in frozen.inputs],
            output_names=[tensor.name for tensor in frozen.outputs],
            tensors_to_rename=dict(
                zip([tensor.name for tensor in [*frozen.inputs, *frozen.outputs]], names, strict=True)
            ),
            opset=_OPSET,
        )
        # tf2onnx logs an operation that it does not support, and leaves it as it was
        if unknown := {node.op_type for node in proto.graph.node if not self._onnx.defs.has(node.op_type, node.domain)}:
            raise InputError(f"the runtime has no {', '.join(sorted(unknown))}")
        _name_axes(proto.graph)
        emotions, audio = json.dumps(self._model.emotions), json.dumps(self._model.audio.to_dict())
        self._onnx.helper.set_model_props(proto, {"emotions": emotions, "audio": audio})
        return proto

    def write(self, path: Path, precision: str) -> None:
        """Convert, and write the file."""
        if precision == "int8":
            features = [node.name for node in self._proto.graph.node if _of_features(node)]
            self._quantization.quantize_dynamic(self._proto, path, nodes_to_exclude=features)
        else:
            proto = self._half(self._proto) if precision == "float16" else self._proto
            path.write_bytes(proto.SerializeToString())

    def _half(self, proto):
        """Store weights in 16 bits; the runtime widens them once, when it loads the file."""
        half = type(proto)()
        half.CopyFrom(proto)
        exact = {name for node in proto.graph.node if _of_features(node) for name in node.input}
        for tensor in half.graph.initializer:
            values = self._onnx.numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size >= _MIN_WEIGHTS and tensor.name not in exact:
                name = f"{tensor.name}_float16"
                widen = self._onnx.helper.make_node("Cast", [name], [tensor.name], to=self._onnx.TensorProto.FLOAT)
                half.graph.node.insert(0, widen)
                tensor.CopyFrom(self._onnx.numpy_helper.from_array(values.astype(np.float16), name))
        return half

    def load(self, path: Path) -> Classify:
        """Return the file as a function that runs on one thread."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = self._runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def classify(waveform, num_samples):
            return session.run(["probabilities"], {"waveform": waveform, "num_samples": num_samples})[0][0]

        return classify


CONVERTERS = {"tflite": TensorFlowLite, "onnx": Onnx}


def _of_features(node) -> bool:
    return "/log_mel" in node.name


def _name_axes(graph) -> None:
    axes = {"waveform": ("batch", "time"), "num_samples": ("batch",), "attention": ("batch", "steps")}
    for value in [*graph.input, *graph.output]:
        dimensions = value.type.tensor_type.shape.dim
        for dimension, name in zip(dimensions, axes.get(value.name, ("batch",)), strict=False):
            dimension.dim_param = name


def onnx_packages() -> list[ModuleType]:
    """Return onnx, tf2onnx, onnxruntime and its tools for quantisation.

    Raises:
        InputError: they are not installed, or do not fit together.
    """
    try:
        with quiet():
            names = ("onnx", "tf2onnx", "onnxruntime", "onnxruntime.quantization")
            return [importlib.import_module(name) for name in names]
    except (ImportError, AttributeError) as error:  # the latter: two of them do not fit together
        raise InputError(
            f"ONNX needs packages that cannot be loaded ({error}): pip install 'ser-keras[convert]'"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the converters, which write to the terminal also without `sys.stderr`."""
    sys.stderr.flush()
    terminal, disabled = os.dup(2), logging.root.manager.disable
    logging.disable()
    try:
        with Path(os.devnull).open("w") as nowhere, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        logging.disable(disabled)
