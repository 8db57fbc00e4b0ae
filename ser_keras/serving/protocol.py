"""The messages of TF Serving's gRPC interface, without TensorFlow.

The published package of them, tensorflow-serving-api, imports TensorFlow: half a gigabyte for a client
that sends a file and reads a label. `protocol.textproto` describes the few messages that prediction needs, with the
published names and numbers, so that the bytes on the wire are the same. A descriptor pool of their own lets
a process import the published ones too, which generated modules would not.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"
"""The remote procedure from a PredictRequest to a PredictResponse."""

DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 7: "O", 9: "<i8", 10: "|b1"}
"""NumPy's types by the number of a tensorflow.DataType; 7 is a string."""

_VALUES = {1: "float_val", 2: "double_val", 3: "int_val", 7: "string_val", 9: "int64_val", 10: "bool_val"}
_STRING = 7


def array_to_tensor(array: Any) -> Message:
    """Turn an array into a TensorProto.

    Args:
        array: numbers, or bytes or str of any length; a list of bytes or str will do.

    Returns:
        The message; text is encoded as UTF-8.

    Raises:
        ValueError: its type is none of `DTYPES`.

    Example:
        >>> array_to_tensor(np.zeros((2, 3), np.float32)).dtype
        1
    """
    array = np.asarray(array, None if hasattr(array, "dtype") else object)  # NumPy's own bytes lose zeros at the end
    shape = TensorShapeProto(dim=[{"size": size} for size in array.shape])
    if array.dtype.kind in "OSU":
        values = [each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()]
        if found := {type(each).__name__ for each in values if not isinstance(each, bytes)}:
            raise ValueError(f"{', '.join(sorted(found))} cannot be sent as text; give a NumPy array of numbers")
        return TensorProto(dtype=_STRING, tensor_shape=shape, string_val=values)
    for number, dtype in DTYPES.items():
        if array.dtype == np.dtype(dtype):
            return TensorProto(dtype=number, tensor_shape=shape, tensor_content=array.astype(dtype).tobytes())
    raise ValueError(
        f"an array of {array.dtype} cannot be sent; expected float32, float64, int32, int64, bool or bytes"
    )


def tensor_to_array(tensor: Message) -> np.ndarray:
    """Turn a TensorProto into an array.

    Args:
        tensor: with its values as raw bytes, one by one, or in the short form in which the last one is repeated.

    Returns:
        The array; strings come as bytes, in an array of objects.

    Raises:
        ValueError: its type is none of `DTYPES`, or its values do not fill its shape.

    Example:
        >>> short = TensorProto(dtype=1, tensor_shape={"dim": [{"size": 3}]}, float_val=[0.5])
        >>> tensor_to_array(short)
        array([0.5, 0.5, 0.5], dtype=float32)
    """
    if tensor.dtype not in DTYPES:
        raise ValueError(f"a tensor of type {tensor.dtype} cannot be read; expected one of {sorted(DTYPES)}")
    dtype, shape = np.dtype(DTYPES[tensor.dtype]), [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    given = list(getattr(tensor, _VALUES[tensor.dtype]))
    if len(given) > math.prod(shape):
        raise ValueError(f"a tensor of shape {shape} holds {len(given)} values")
    fill = given[-1] if given else b"" if tensor.dtype == _STRING else 0
    values = np.full(math.prod(shape), fill, dtype)
    values[: len(given)] = given
    return values.reshape(shape)


def predict_request(model: str, signature: str, inputs: Mapping[str, Any], version: int | None = None) -> Message:
    """Make a request to a served model.

    Args:
        model: its name on the server.
        signature: name of its signature.
        inputs: arrays by name.
        version: of the model; None for the newest.

    Returns:
        A PredictRequest.

    Example:
        >>> predict_request("ser", "serving_default", {"audio_bytes": [b"RIFF"]}).model_spec.name
        'ser'
    """
    spec = ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    return PredictRequest(model_spec=spec, inputs={name: array_to_tensor(array) for name, array in inputs.items()})


def outputs_of(response: Message) -> dict[str, np.ndarray]:
    """Return the outputs in a response: arrays by name.

    Raises:
        ValueError: a tensor cannot be read, see `tensor_to_array`.
    """
    return {name: tensor_to_array(tensor) for name, tensor in response.outputs.items()}


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
for _file in text_format.Parse(Path(__file__).with_suffix(".textproto").read_text(), FileDescriptorSet()).file:
    _pool.AddSerializedFile(_file.SerializeToString())


def _class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


TensorShapeProto = _class("tensorflow.TensorShapeProto")
TensorProto = _class("tensorflow.TensorProto")
ModelSpec = _class("tensorflow.serving.ModelSpec")
PredictRequest = _class("tensorflow.serving.PredictRequest")
PredictResponse = _class("tensorflow.serving.PredictResponse")
PredictLog = _class("tensorflow.serving.PredictLog")
PredictionLog = _class("tensorflow.serving.PredictionLog")
