"""The messages of TF Serving's gRPC interface, without TensorFlow.

The published package of them, tensorflow-serving-api, imports TensorFlow: half a gigabyte, for a client
that sends a file and reads a word. Here are the few messages that prediction needs, with the
published names and numbers, so that the bytes on the wire are the same. They live in a descriptor pool
of their own: a process may import the published ones too.

    TensorProto, TensorShapeProto       tensorflow/core/framework/{tensor,tensor_shape}.proto
    ModelSpec                           tensorflow_serving/apis/model.proto
    PredictRequest, PredictResponse     tensorflow_serving/apis/predict.proto
    PredictLog, PredictionLog           tensorflow_serving/apis/prediction_log.proto (warm-up records)
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pool, message_factory, wrappers_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"
"""The remote procedure that takes a PredictRequest and gives a PredictResponse."""

DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 7: "O", 9: "<i8", 10: "|b1"}
"""The members of tensorflow.DataType that are read and written here, with NumPy's types; 7 is a string."""

_DTYPE_NAMES = {0: "INVALID", 1: "FLOAT", 2: "DOUBLE", 3: "INT32", 7: "STRING", 9: "INT64", 10: "BOOL"}
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
        tensor: with its values as raw bytes, one by one, or in the short form in which the last one
            stands for all that follow.

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
    """Make the question to a served model.

    Args:
        model: its name on the server.
        signature: which of its functions is asked.
        inputs: arrays by name.
        version: of the model; the newest where there is none.

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
    """Read the answer of a served model: arrays by name.

    Raises:
        ValueError: a tensor cannot be read, see `tensor_to_array`.
    """
    return {name: tensor_to_array(tensor) for name, tensor in response.outputs.items()}


def _field(name: str, number: int, kind: str, *, repeated: bool = False) -> FieldDescriptorProto:
    """One field; `kind` is a scalar's name, or a message's or an enum's with a dot in front."""
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    field = FieldDescriptorProto(name=name, number=number, label=label)
    if kind.startswith("."):
        field.type_name = kind
        field.type = FieldDescriptorProto.TYPE_ENUM if kind == ".tensorflow.DataType" else field.TYPE_MESSAGE
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    return field


def _message(name: str, *fields: FieldDescriptorProto, nested: tuple[DescriptorProto, ...] = ()) -> DescriptorProto:
    return DescriptorProto(name=name, field=fields, nested_type=nested)


def _tensors_by_name(name: str) -> DescriptorProto:
    """The entry of a map from names to tensors."""
    entry = _message(name, _field("key", 1, "string"), _field("value", 2, ".tensorflow.TensorProto"))
    entry.options.map_entry = True
    return entry


_TENSORFLOW = FileDescriptorProto(
    name="ser_keras/tensor.proto",
    package="tensorflow",
    syntax="proto3",
    enum_type=[
        EnumDescriptorProto(
            name="DataType",
            value=[{"name": f"DT_{name}", "number": number} for number, name in _DTYPE_NAMES.items()],
        )
    ],
    message_type=[
        _message(
            "TensorShapeProto",
            _field("dim", 2, ".tensorflow.TensorShapeProto.Dim", repeated=True),
            _field("unknown_rank", 3, "bool"),
            nested=(_message("Dim", _field("size", 1, "int64"), _field("name", 2, "string")),),
        ),
        _message(
            "TensorProto",
            _field("dtype", 1, ".tensorflow.DataType"),
            _field("tensor_shape", 2, ".tensorflow.TensorShapeProto"),
            _field("version_number", 3, "int32"),
            _field("tensor_content", 4, "bytes"),
            _field("float_val", 5, "float", repeated=True),
            _field("double_val", 6, "double", repeated=True),
            _field("int_val", 7, "int32", repeated=True),
            _field("string_val", 8, "bytes", repeated=True),
            _field("int64_val", 10, "int64", repeated=True),
            _field("bool_val", 11, "bool", repeated=True),
        ),
    ],
)

_SERVING = FileDescriptorProto(
    name="ser_keras/serving.proto",
    package="tensorflow.serving",
    syntax="proto3",
    dependency=[_TENSORFLOW.name, wrappers_pb2.DESCRIPTOR.name],
    message_type=[
        _message(
            "ModelSpec",
            _field("name", 1, "string"),
            _field("version", 2, ".google.protobuf.Int64Value"),
            _field("signature_name", 3, "string"),
        ),
        _message(
            "PredictRequest",
            _field("model_spec", 1, ".tensorflow.serving.ModelSpec"),
            _field("inputs", 2, ".tensorflow.serving.PredictRequest.InputsEntry", repeated=True),
            _field("output_filter", 3, "string", repeated=True),
            nested=(_tensors_by_name("InputsEntry"),),
        ),
        _message(
            "PredictResponse",
            _field("outputs", 1, ".tensorflow.serving.PredictResponse.OutputsEntry", repeated=True),
            _field("model_spec", 2, ".tensorflow.serving.ModelSpec"),
            nested=(_tensors_by_name("OutputsEntry"),),
        ),
        _message(
            "PredictLog",
            _field("request", 1, ".tensorflow.serving.PredictRequest"),
            _field("response", 2, ".tensorflow.serving.PredictResponse"),
        ),
        _message("PredictionLog", _field("predict_log", 6, ".tensorflow.serving.PredictLog")),
    ],
)

_pool = descriptor_pool.DescriptorPool()
for _file in (wrappers_pb2.DESCRIPTOR.serialized_pb, _TENSORFLOW.SerializeToString(), _SERVING.SerializeToString()):
    _pool.AddSerializedFile(_file)


def _class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


TensorShapeProto = _class("tensorflow.TensorShapeProto")
TensorProto = _class("tensorflow.TensorProto")
ModelSpec = _class("tensorflow.serving.ModelSpec")
PredictRequest = _class("tensorflow.serving.PredictRequest")
PredictResponse = _class("tensorflow.serving.PredictResponse")
PredictLog = _class("tensorflow.serving.PredictLog")
PredictionLog = _class("tensorflow.serving.PredictionLog")
