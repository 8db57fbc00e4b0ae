"""The messages of `ser_keras.serving.protocol` beside the published ones of tensorflow-serving-api."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor_pb2 import DescriptorProto
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from ser_keras.serving import protocol
from ser_keras.serving.protocol import array_to_tensor, outputs_of, predict_request, tensor_to_array

MESSAGES = [
    (protocol.TensorProto, tensor_pb2.TensorProto),
    (protocol.TensorShapeProto, tensor_shape_pb2.TensorShapeProto),
    (protocol.TensorShapeProto.Dim, tensor_shape_pb2.TensorShapeProto.Dim),
    (protocol.ModelSpec, model_pb2.ModelSpec),
    (protocol.PredictRequest, predict_pb2.PredictRequest),
    (protocol.PredictResponse, predict_pb2.PredictResponse),
    (protocol.PredictLog, prediction_log_pb2.PredictLog),
    (protocol.PredictionLog, prediction_log_pb2.PredictionLog),
]

ARRAYS = [
    np.array([[0.5, np.nan], [-np.inf, 1e-30]], np.float32),
    np.array([[[1, -2, 2**31 - 1]]], np.int32),
    np.array([1, -(2**40)], np.int64),
    np.array([0.1, 1e300]),
    np.array([True, False]),
    np.array([[b"RIFF\x00\xff\x00", b""]], object),
    np.zeros((2, 0, 3), np.float32),
    np.array([], object),
    np.float32(0.5),
]


def described(message):
    """Return number, label and type of each field."""
    description = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(description)
    fields = {each.name: (each.number, each.label, each.type, each.type_name) for each in description.field}
    nested = {each.name: each.options.map_entry for each in description.nested_type}
    return fields, nested


@pytest.mark.parametrize(("ours", "theirs"), MESSAGES, ids=lambda message: message.DESCRIPTOR.name)
def test_fields_are_the_published_ones(ours, theirs):
    (fields, nested), (published, published_nested) = described(ours), described(theirs)
    assert ours.DESCRIPTOR.full_name == theirs.DESCRIPTOR.full_name
    assert fields == {name: published[name] for name in fields}
    assert nested.items() <= published_nested.items()


def test_numbers_of_types_are_the_published_ones():
    types = {tf.float32: "<f4", tf.float64: "<f8", tf.int32: "<i4", tf.string: "O", tf.int64: "<i8", tf.bool: "|b1"}
    assert {each.as_datatype_enum: name for each, name in types.items()} == protocol.DTYPES
    names = protocol.TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number
    assert {number: names[number].name for number in protocol.DTYPES} == {
        each.as_datatype_enum: f"DT_{each.name.upper().replace('FLOAT32', 'FLOAT').replace('FLOAT64', 'DOUBLE')}"
        for each in types
    }


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_tensors_are_understood_in_both_directions(array):
    read_by_them = tf.make_ndarray(tensor_pb2.TensorProto.FromString(array_to_tensor(array).SerializeToString()))
    theirs = tf.make_tensor_proto(array, shape=array.shape).SerializeToString()
    read_by_us = tensor_to_array(protocol.TensorProto.FromString(theirs))
    for read in (read_by_them, read_by_us):
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(read, array)


def test_text_is_sent_as_utf8():
    assert list(array_to_tensor(["ärger", b"\xff"]).string_val) == ["ärger".encode(), b"\xff"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dtype": 1, "float_val": [0.5, 0.25]}, [0.5, 0.25, 0.25]),
        ({"dtype": 3, "int_val": [7]}, [7, 7, 7]),
        ({"dtype": 9, "int64_val": [7, 8, 9]}, [7, 8, 9]),
        ({"dtype": 10, "bool_val": [True]}, [True, True, True]),
        ({"dtype": 7, "string_val": [b"sad"]}, [b"sad", b"sad", b"sad"]),
        ({"dtype": 1}, [0, 0, 0]),
    ],
)
def test_the_last_value_stands_for_those_that_are_not_sent(fields, expected):
    theirs = tensor_pb2.TensorProto(tensor_shape={"dim": [{"size": 3}]}, **fields)
    ours = tensor_to_array(protocol.TensorProto.FromString(theirs.SerializeToString()))
    assert ours.tolist() == expected
    if "string_val" not in fields:  # make_ndarray wants all strings
        assert tf.make_ndarray(theirs).tolist() == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": 14},
        {"dtype": 1, "tensor_content": b"12345"},
        {"dtype": 1, "float_val": [1, 2]},
        {"dtype": 1, "tensor_shape": {"dim": [{"size": -1}]}},
    ],
    ids=["bfloat16", "half a number", "too many", "unknown size"],
)
def test_a_tensor_that_cannot_be_read_is_refused(fields):
    with pytest.raises(ValueError):
        tensor_to_array(protocol.TensorProto(**fields))


def test_an_array_that_cannot_be_sent_is_refused():
    with pytest.raises(ValueError, match="complex64 cannot be sent"):
        array_to_tensor(np.zeros(1, np.complex64))
    with pytest.raises(ValueError, match="float cannot be sent as text; give a NumPy array"):
        array_to_tensor([0.5])


def test_a_request_is_understood_by_the_published_message():
    ours = predict_request("ser", "timeline", {"audio_bytes": [b"RIFF\x00", b""]}, version=7)
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    spec = theirs.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("ser", "timeline", 7)
    assert tf.make_ndarray(theirs.inputs["audio_bytes"]).tolist() == [b"RIFF\x00", b""]


@pytest.mark.parametrize("version", [None, 0])
def test_only_a_version_that_was_given_is_asked_for(version):
    ours = predict_request("ser", "timeline", {}, version=version)
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert theirs.model_spec.HasField("version") == (version is not None)


def test_a_published_response_is_understood():
    theirs = predict_pb2.PredictResponse()
    theirs.model_spec.version_label = "stable"  # a field that we do not have
    theirs.outputs["label"].CopyFrom(tf.make_tensor_proto([b"sad", b"calm"]))
    theirs.outputs["confidence"].CopyFrom(tf.make_tensor_proto(np.array([0.5, np.nan], np.float32)))
    outputs = outputs_of(protocol.PredictResponse.FromString(theirs.SerializeToString()))
    assert outputs["label"].tolist() == [b"sad", b"calm"]
    np.testing.assert_array_equal(outputs["confidence"], np.array([0.5, np.nan], np.float32))


def test_a_warm_up_record_is_understood_by_the_published_message():
    request = predict_request("ser", "serving_default", {"audio_bytes": [b"RIFF"]})
    ours = protocol.PredictionLog(predict_log=protocol.PredictLog(request=request))
    theirs = prediction_log_pb2.PredictionLog.FromString(ours.SerializeToString())
    assert theirs.WhichOneof("log_type") == "predict_log"
    assert tf.make_ndarray(theirs.predict_log.request.inputs["audio_bytes"]).tolist() == [b"RIFF"]
    assert protocol.PredictionLog.FromString(theirs.SerializeToString()) == ours


def test_messages_work_without_protobufs_native_library():
    code = (
        "from ser_keras.serving.protocol import *; from google.protobuf.internal import api_implementation as used;"
        "request = predict_request('ser', 'timeline', {'audio_bytes': [b'RIFF']}, version=7);"
        "request = PredictRequest.FromString(request.SerializeToString());"
        "print(used.Type(), request.model_spec.version.value, tensor_to_array(request.inputs['audio_bytes']))"
    )
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["python", "7", "[b'RIFF']"]
