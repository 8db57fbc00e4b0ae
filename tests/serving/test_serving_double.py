"""The double behaves as TF Serving's sources say: what the client's tests rest on."""

import base64
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from serving_double import ServingDouble, StandIn
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return StandIn().save(tmp_path_factory.mktemp("exports") / "ser" / "3")


@pytest.fixture(scope="module")
def server(exported):
    with ServingDouble(exported) as server:
        yield server


@pytest.fixture
def batching(exported):
    with ServingDouble(
        exported, allowed_batch_sizes=(4, 8), batch_timeout_seconds=0.5, pad_variable_length_inputs=True
    ) as server:
        yield server


def ask_rest(server, body, path="/v1/models/ser:predict"):
    with requests.Session() as session:
        session.trust_env = False
        response = session.post(server.rest_url + path, json=body, timeout=10)
    return response.status_code, response.json()


def ask_grpc(server, signature, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ser", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(server.grpc_address, [("grpc.enable_http_proxy", 0)]) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


def test_columns_are_answered_with_columns(server):
    body = {"inputs": {"audio_bytes": [b64(b"RIFF" + bytes(496)), b64(b"\xff")]}}
    status, answer = ask_rest(server, body)
    outputs = answer["outputs"]
    assert (status, outputs["label"], outputs["error"]) == (200, ["neutral", ""], ["", "not a WAV file"])
    assert outputs["confidence"][1] == 0


@pytest.mark.parametrize("name", ["audio_bytes", None])
def test_rows_are_answered_with_rows(server, name):
    recording = b64(b"RIFF" + bytes(496))
    rows = [{name: recording} if name else recording] * 2
    status, answer = ask_rest(server, {"signature_name": "embedding", "instances": rows})
    assert (status, answer) == (200, {"predictions": [{"embedding": [500.0, 1000.0], "error": ""}] * 2})


def test_both_protocols_agree(server):
    recording = b"RIFF" + bytes(296)
    by_grpc = ask_grpc(server, "serving_default", audio_bytes=[recording])
    _, by_rest = ask_rest(server, {"inputs": [b64(recording)]})
    np.testing.assert_allclose(by_grpc["probabilities"], by_rest["outputs"]["probabilities"], rtol=1e-6)
    assert by_grpc["emotions"].tolist() == [[b"neutral", b"sad", b"angry"]]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/other:predict", {}, 404, "Servable not found for request: Latest(other)"),
        ("/v1/models/ser/versions/4:predict", {}, 404, "Servable not found for request: Specific(ser, 4)"),
        ("/v1/models/ser/versions/3:predict", {}, 400, "either 'instances' or 'inputs'"),
        ("/v1/models/ser:predict", {"signature_name": "x", "inputs": []}, 400, '"x" not found in signature def'),
        ("/v1/models/ser:predict", {"inputs": {"y": ["a"]}}, 400, "expected to be in the set {audio_bytes}"),
        ("/v1/models/ser:predict", {"inputs": [{"b64": "?"}]}, 400, "base64"),
        ("/v1/other", {}, 400, "Malformed request"),
    ],
)
def test_a_wrong_request_is_refused(server, path, body, status, words):
    found, answer = ask_rest(server, body, path)
    assert (found, words in answer["error"]) == (status, True), answer


def test_it_says_which_version_it_serves(server):
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{server.rest_url}/v1/models/ser", timeout=10).json()
    assert [(each["version"], each["state"]) for each in answer["model_version_status"]] == [("3", "AVAILABLE")]


def test_requests_at_the_same_time_share_a_batch_of_an_allowed_size(batching):
    recordings = [b"RIFF" + bytes(96), b"RIFF" + bytes(196), b"junk"]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda each: ask_grpc(batching, "embedding", audio_bytes=[each]), recordings))
    [batch] = batching.batches
    last = batch.inputs["audio_bytes"][2]
    assert batch.sizes == (1, 1, 1)
    assert sorted(batch.inputs["audio_bytes"][:3]) == sorted(recordings)
    assert batch.inputs["audio_bytes"][3:].tolist() == [last]  # the first row of the last request
    assert [answer["embedding"].tolist() for answer in answers[:2]] == [[[100, 200]], [[200, 400]]]
    assert answers[2]["error"].tolist() == [b"not a WAV file"]


def test_requests_to_other_signatures_have_their_own_batch(batching):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: ask_grpc(batching, name, audio_bytes=[b"RIFF"]), ["embedding", "timeline"]))
    assert sorted(batch.signature for batch in batching.batches) == ["embedding", "timeline"]


def test_requests_that_do_not_fit_together_are_run_apart(batching):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda size: ask_grpc(batching, "embedding", audio_bytes=[b"RIFF"] * size), [5, 6]))
    assert sorted(batch.sizes for batch in batching.batches) == [(5,), (6,)]
    assert {len(batch.inputs["audio_bytes"]) for batch in batching.batches} == {8}


def test_waveforms_of_two_lengths_are_padded_with_their_first_sample(batching):
    def ask(length):
        inputs = {"num_samples": np.array([length], np.int32), "sample_rate": np.array([16_000], np.int32)}
        return ask_grpc(batching, "waveform", waveform=np.full((1, length), 0.5, np.float32), **inputs)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, [300, 500]))
    [batch] = batching.batches
    np.testing.assert_array_equal(batch.inputs["waveform"], np.full((4, 500), 0.5, np.float32))
    np.testing.assert_allclose([answer["probabilities"][0, 0] for answer in answers], [0.3, 0.5], rtol=1e-6)


def test_a_request_larger_than_any_batch_is_refused(batching):
    with pytest.raises(grpc.RpcError, match="larger than maximum input batch size 8"):
        ask_grpc(batching, "embedding", audio_bytes=[b"RIFF"] * 9)
