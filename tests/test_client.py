"""The client beside a double of TF Serving, and beside servers that misbehave."""

import io
import json
import os
import socketserver
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest
import soundfile
from serving_double import EMOTIONS, ServingDouble, StandIn
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import ser_keras.client
from ser_keras.client import EmotionClient, ServingError
from ser_keras.errors import InputError

WAV = b"RIFF\x00\x00\x00\x00WAVE"
"""As much of a WAV file as the stand-in looks at; libsndfile cannot read it, so it is sent as it is."""


def wav_of(length):
    return WAV + bytes(length - len(WAV))


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = StandIn().save(tmp_path_factory.mktemp("exports") / "ser" / "3")
    with ServingDouble(directory) as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def address(request, server):
    server.batches.clear()
    return server.rest_url if request.param == "rest" else f"grpc://{server.grpc_address}"


@pytest.fixture
def client(address):
    with EmotionClient(address, retries=0) as client:
        yield client


@pytest.fixture
def rest_client(server):
    server.batches.clear()
    with EmotionClient(server.rest_url, retries=0) as client:
        yield client


def sent_to(server):
    """Return what the model got, recording by recording."""
    return [each for batch in server.batches for each in batch.inputs["audio_bytes"]]


def failure(message):
    """Expect that the server cannot be asked, or answers with what is of no use."""
    return pytest.raises(ServingError, match=message)


# Answers


def test_one_recording_gives_one_prediction(client, tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(wav_of(250))
    prediction = client.predict(path)
    assert (prediction.source, prediction.label, prediction.error) == (path, "sad", "")
    assert list(prediction.probabilities) == list(EMOTIONS)
    assert list(prediction.probabilities.values()) == pytest.approx([0.25, 0.5625, 0.1875])
    assert prediction.confidence == pytest.approx(0.5625)
    np.testing.assert_allclose(prediction.attention, [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(prediction.attention_seconds, [0.5, 1.5, 2.5])


def test_a_list_is_answered_in_its_order(client, tmp_path):
    (tmp_path / "clip.wav").write_bytes(wav_of(700))
    recordings = [wav_of(500), str(tmp_path / "clip.wav"), wav_of(100), np.zeros(78, np.int16)]
    predictions = client.predict(recordings, sample_rate=16_000)
    assert [each.source for each in predictions] == [None, str(tmp_path / "clip.wav"), None, None]
    neutral = [each.probabilities["neutral"] for each in predictions]
    assert neutral == pytest.approx([0.5, 0.7, 0.1, 0.2])  # 78 samples and 44 bytes of header


def test_neighbours_of_bad_recordings_are_answered(client, tmp_path):
    missing = tmp_path / "missing.wav"
    predictions = client.predict([wav_of(500), b"junk", missing, tmp_path, b"", wav_of(100)])
    errors = [each.error for each in predictions]
    assert [each.probabilities.get("neutral") for each in predictions] == [
        pytest.approx(0.5), None, None, None, None, pytest.approx(0.1)
    ]  # fmt: skip
    assert (errors[0], errors[-1]) == ("", "")
    assert errors[1].startswith("not audio that can be read")
    assert errors[2].startswith("cannot be read: No such file")
    assert errors[3].startswith("cannot be read: Is a directory")
    assert errors[4].startswith("not audio that can be read")
    assert str(predictions[2]).startswith(f"{missing}: cannot be read")


def test_what_the_server_refuses_is_the_error_of_its_recording(client, monkeypatch):
    monkeypatch.setattr(ser_keras.client, "as_wav", lambda contents, most_bytes: contents)
    first, bad, last = client.predict([wav_of(500), b"ID3", wav_of(100)])
    assert (bad.error, bad.label) == ("not a WAV file", "")
    assert (first.label, last.error) == ("neutral", "")
    with pytest.raises(InputError, match="the recording: not a WAV file"):
        client.predict(b"ID3")
    np.testing.assert_array_equal(client.embed([b"ID3"]), [[np.nan, np.nan]])


def test_a_single_recording_that_is_bad_is_an_exception(client, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.wav"):
        client.predict(tmp_path / "missing.wav")
    (tmp_path / "notes.wav").write_text("buy milk")
    with pytest.raises(InputError, match=r"notes\.wav: not audio that can be read"):
        client.predict(tmp_path / "notes.wav")
    with pytest.raises(InputError, match="the recording: not audio"):
        client.timeline(b"junk")


def test_a_timeline_has_its_own_windows(client):
    short, bad, long = client.timeline([wav_of(150), b"junk", wav_of(450)])
    assert [(each.start_seconds, each.end_seconds) for each in short.windows] == [(0, 2)]
    assert [(each.start_seconds, each.end_seconds) for each in long.windows] == [(0, 2), (2, 4), (4, 6)]
    assert (bad.windows, bad.error[:9]) == ((), "not audio")
    assert len(client.timeline(wav_of(450)).windows) == 3


def test_a_bad_recording_has_no_embedding(client, caplog):
    good, bad = client.embed([wav_of(450), b"junk"])
    np.testing.assert_array_equal(good, [450, 900])
    np.testing.assert_array_equal(bad, [np.nan, np.nan])
    assert "audio[1]: not audio" in caplog.text
    np.testing.assert_array_equal(client.embed(wav_of(450)), [450, 900])
    with pytest.raises(InputError, match="not audio"):
        client.embed(b"junk")


def test_nothing_is_asked_where_there_is_nothing_to_ask(client, server):
    assert client.predict([]) == []
    assert client.predict([b"junk"])[0].error
    assert np.isnan(client.embed([b"junk"])[0]).all()
    assert server.batches == []


# What is sent


def test_recordings_travel_in_batches(address, server):
    with EmotionClient(address, batch_size=2) as client:
        predictions = client.predict([wav_of(100 * number) for number in range(1, 6)])
    assert [batch.sizes for batch in server.batches] == [(2,), (2,), (1,)]
    assert [each.probabilities["neutral"] for each in predictions] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_request_is_bounded_in_bytes(client, server, monkeypatch):
    monkeypatch.setattr(ser_keras.client, "REQUEST_BYTES", 1000)
    client.predict([wav_of(size) for size in (500, 500, 50, 2000, 300, 300)])
    assert [len(batch.inputs["audio_bytes"]) for batch in server.batches] == [2, 1, 1, 2]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_wav_file_goes_as_it_is(rest_client, server, wav_bytes, noise, subtype, tmp_path):
    contents = wav_bytes(noise(800), subtype=subtype)
    (tmp_path / "clip.mp3").write_bytes(contents)  # a name proves nothing
    rest_client.predict([contents, tmp_path / "clip.mp3", contents[:-3] + b"\x00"])
    assert sent_to(server) == [contents, contents, contents[:-3] + b"\x00"]


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [
        ("WAV", "ULAW"),
        ("WAV", "ALAW"),
        ("WAV", "IMA_ADPCM"),
        ("WAV", "MS_ADPCM"),
        ("FLAC", "PCM_16"),
        ("AIFF", "PCM_16"),
    ],
)
def test_what_the_graph_does_not_read_is_made_a_wav_file(rest_client, server, noise, file_format, subtype, tmp_path):
    path = tmp_path / "clip.wav"
    channels = noise(8_000).reshape(-1, 2)
    soundfile.write(path, channels, 22_050, format=file_format, subtype=subtype)
    rest_client.predict(path)
    [sent] = sent_to(server)
    samples, rate = soundfile.read(io.BytesIO(sent), dtype="float32")
    decoded, _ = soundfile.read(path, dtype="float32")
    assert (rate, soundfile.info(io.BytesIO(sent)).subtype) == (22_050, "FLOAT")
    np.testing.assert_allclose(samples, decoded.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.5, -1.5, np.nan]),
        np.array([0.25, 1e300]),
        np.array([0.5, -0.25], np.float16),
        np.array([[0.5, 0.25], [1.0, -0.5]], np.float32),
        np.array([[1, -2], [2**15 - 1, -(2**15)]], np.int16),
        np.zeros(0, np.float32),
    ],
    ids=["float64", "too large", "float16", "two channels", "int16", "empty"],
)
def test_an_array_is_sent_with_its_values_and_rate(rest_client, server, array):
    rest_client.predict(array, sample_rate=48_000)
    [sent] = sent_to(server)
    samples, rate = soundfile.read(io.BytesIO(sent), dtype="int16" if array.dtype == np.int16 else "float32")
    with np.errstate(over="ignore"):
        expected = array.astype(samples.dtype)
    assert rate == 48_000
    np.testing.assert_array_equal(samples, expected)


def test_a_recording_that_no_message_holds_is_refused(rest_client, monkeypatch, tmp_path):
    monkeypatch.setattr(ser_keras.client, "RECORDING_BYTES", 2**20)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.truncate(2**20 + 1)
    compressed = tmp_path / "long.flac"
    soundfile.write(compressed, np.zeros(2**20), 48_000)
    samples = np.zeros(2**20, np.int16)
    errors = [each.error for each in rest_client.predict([path, compressed, samples], sample_rate=48_000)]
    assert len(errors) == 3 and all("too long" in each and "1 MB" in each for each in errors)


@pytest.mark.parametrize(
    ("audio", "sample_rate", "message"),
    [
        (np.zeros(9), None, "sample_rate=None: expected the rate of the array, in Hz"),
        (np.zeros(9), 0, "sample_rate=0: expected"),
        (np.zeros(9, np.int32), 16_000, "'int32': expected float with a full scale of 1, or int16"),
        (np.zeros((2, 99)), 16_000, r"\(2, 99\): expected \(time,\) or \(time, channels\)"),
        (np.zeros((9, 1, 1)), 16_000, r"\(9, 1, 1\): expected"),
        ([b"RIFF", 0.5], None, "float is no recording; expected a path, bytes, an array"),
        (None, None, "NoneType is no recording"),
    ],
)
def test_what_can_be_no_recording_is_refused_before_anything_is_sent(rest_client, server, audio, sample_rate, message):
    with pytest.raises(InputError, match=message):
        rest_client.predict(audio, sample_rate=sample_rate)
    assert server.batches == []


# Settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": "ftp://host:8501"}, "address='ftp://host:8501': expected http://host:8501"),
        ({"address": "http://"}, "address='http://': expected"),
        ({"address": "host"}, "address='host': expected"),
        ({"address": "host:port"}, "address='host:port': expected"),
        ({"model": ""}, "model='': expected the model's name"),
        ({"version": -1}, "version=-1: expected 0 or more"),
        ({"timeout_seconds": 0}, "timeout_seconds=0: expected more than 0"),
        ({"retries": 5}, "retries=5: expected 0 to 4"),
        ({"batch_size": 0}, "batch_size=0: expected more than 0"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        EmotionClient(**{"address": "http://host:8501"} | arguments)


def test_an_address_without_a_scheme_is_grpc(server):
    with EmotionClient(server.grpc_address) as client:
        assert client.predict(wav_of(500)).label == "neutral"


@pytest.mark.parametrize(
    ("address", "library"), [("http://h:1", "requests"), ("h:1", "grpc"), ("h:1", "google.protobuf")]
)
def test_a_missing_library_is_named(monkeypatch, address, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"{library} is not installed; pip install 'ser-keras\[client\]'"):
        EmotionClient(address)


def test_a_secure_address_is_spoken_to_in_tls(server):
    for address in (server.rest_url.replace("http", "https"), f"grpcs://{server.grpc_address}"):
        with EmotionClient(address, retries=0) as client, pytest.raises(ServingError, match=r"(?i)ssl"):
            client.predict(WAV)


# Answers of the server that are no predictions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "other"}, r"(404|NOT_FOUND): Servable not found .* model 'other' is not served there: check model"),
        ({"version": 2}, r"Specific\(ser, 2\); model 'ser', version 2 is not served there"),
    ],
)
def test_a_model_that_is_not_served_is_named(address, settings, message):
    with EmotionClient(address, **settings) as client, pytest.raises(ServingError, match=message) as error:
        client.predict(WAV)
    assert str(error.value).startswith(f"{address}: responded ")


def test_the_version_that_is_served_may_be_asked_for(address):
    with EmotionClient(address, version=3) as client:
        assert client.predict(wav_of(500)).label == "neutral"


def test_a_signature_that_is_not_served_is_named(client, monkeypatch, server):
    monkeypatch.setattr(server._loaded, "signatures", {})
    with pytest.raises(ServingError, match=r"the served model has no 'timeline' as asked for: export it again"):
        client.timeline(WAV)


def test_a_batch_that_the_server_does_not_take_is_explained(server, monkeypatch, client):
    monkeypatch.setattr(server, "_allowed", (1, 2))
    with pytest.raises(ServingError, match="maximum input batch size 2; lower batch_size"):
        client.predict([WAV] * 3)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>\n<p>Welcome!</p>", "the outputs of 'embedding' are not those of an export"),
        (200, b'{"predictions": []}', r"not those of an export \(missing 'outputs'\); check the address"),
        (200, b'{"outputs": {"error": [""]}}', "missing 'embedding'"),
        (200, b'{"outputs": [1]}', "not those of an export"),
        (200, b'{"outputs": {"error": [], "embedding": []}}', "not those of an export"),
        (200, b'{"outputs": {"error": [[""], ""], "embedding": []}}', "not those of an export"),
        (301, b"", "HTTP 301: no text; see the server's log"),
        (400, b'{"error": "bad\\n dog"}', "HTTP 400: bad dog; see the server's log"),
        (500, b"<html>\n<p>" + bytes(9_999), "HTTP 500: <html> <p>"),
        (503, b"[]", r"HTTP 503: \[\]"),
    ],
)
def test_a_strange_answer_is_one_short_line_and_final(status, body, message):
    with http_server(status, body) as (address, requests), EmotionClient(address) as client:
        with pytest.raises(ServingError, match=message) as error:
            client.embed(WAV)
        assert len(requests) == 1
    assert str(error.value).startswith(f"{address}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED]
)
def test_an_error_over_grpc_is_final(code):
    with grpc_server(code, failures=9) as (address, requests), EmotionClient(address) as client:
        with pytest.raises(ServingError, match=rf"^{address}: responded {code.name}: no such luck; "):
            client.embed(WAV)
        assert len(requests) == 1


def test_outputs_that_are_missing_over_grpc_are_named():
    message = r"not those of an export \(missing 'embedding'\); check the address"
    with grpc_server(None) as (address, _), EmotionClient(address) as client, failure(message):
        client.embed(WAV)


# Transport


def test_a_broken_connection_is_tried_again():
    with breaking_server(failures=2) as (address, attempts), EmotionClient(address, retries=2) as client:
        np.testing.assert_array_equal(client.embed(WAV), [1, 2])
        assert len(attempts) == 3


def test_a_connection_that_stays_broken_is_an_error():
    with breaking_server(failures=9) as (address, attempts), EmotionClient(address, retries=1) as client:
        with pytest.raises(ServingError, match=rf"^{address}: cannot be reached \(.*\); check the address") as error:
            client.embed(WAV)
        assert len(attempts) == 2
    assert "0x" not in str(error.value)


@pytest.mark.parametrize("retries", [0, 2])
def test_an_unavailable_server_is_tried_again_over_grpc(retries):
    recording = WAV + bytes(2**20)  # what gRPC by itself would not keep for another attempt
    with grpc_server(grpc.StatusCode.UNAVAILABLE, failures=9) as (address, attempts):
        message = r"cannot be reached \(no such luck\); check the address"
        with EmotionClient(address, retries=retries) as client, failure(message):
            client.embed(recording)
        assert len(attempts) == retries + 1


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_starts_late_is_found(server, scheme):
    with socketserver.TCPServer(("127.0.0.1", 0), None) as reserved:
        port = reserved.server_address[1]
    start = late_http if scheme == "http" else late_grpc
    with EmotionClient(f"{scheme}://127.0.0.1:{port}", retries=4) as client, start(port):
        np.testing.assert_array_equal(client.embed(WAV), [1, 2])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_not_there_is_named(scheme):
    with socketserver.TCPServer(("127.0.0.1", 0), None) as reserved:
        address = f"{scheme}://127.0.0.1:{reserved.server_address[1]}"
    message = rf"^{address}: cannot be reached \(.*Connection refused\)"
    with EmotionClient(address, retries=0) as client, failure(message):
        client.predict(WAV)


def test_a_slow_answer_is_not_waited_for():
    released = threading.Event()
    with http_server(200, b"{}", released) as (address, requests):
        message = rf"^{address}: no response within 0.2 s; raise timeout_seconds"
        with EmotionClient(address, timeout_seconds=0.2) as client, failure(message):
            client.embed(WAV)
        released.set()
        assert len(requests) == 1


def test_a_slow_answer_is_not_waited_for_over_grpc():
    released = threading.Event()
    with grpc_server(None, released=released) as (address, requests):
        message = rf"^{address}: no response within 0.2 s; raise timeout_seconds"
        with EmotionClient(address, timeout_seconds=0.2) as client, failure(message):
            client.embed(WAV)
        released.set()
        assert len(requests) == 1


def test_it_works_in_a_process_without_tensorflow(server):
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'librosa'): sys.modules[name] = None\n"
        "from ser_keras.client import EmotionClient\n"
        "for address in sys.argv[1:]:\n"
        "    with EmotionClient(address) as client: print(client.predict(b'RIFF0000WAVE' + bytes(488)))\n"
    )
    of_protobuf = "ignore:Type google._upb:DeprecationWarning"  # on Python 3.12, as in pyproject.toml
    command = [sys.executable, "-W", "error", "-W", of_protobuf, "-c", code, server.rest_url, server.grpc_address]
    process = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == ["neutral (0.50)"] * 2


# Servers that misbehave; each gives its address and a list with an entry for every attempt

ANSWER = {"outputs": {"embedding": [[1.0, 2.0]], "error": [""]}}


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def http_server(status, body, released=None, port=0):
    """Answer everything with one status and one body."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            if released and released.wait(1):  # who waits longer gets the answer
                return
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", port), Handler)) as address:
        yield address, requests


@contextmanager
def breaking_server(failures):
    """Hang up on the first attempts."""
    attempts = []
    content = json.dumps(ANSWER).encode()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            attempts.append(self.rfile.readline())
            if len(attempts) > failures:
                lines = iter(self.rfile.readline, b"\r\n")
                length = next(int(line.split()[1]) for line in [*lines] if line.startswith(b"Content-Length"))
                self.rfile.read(length)
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    with running(socketserver.TCPServer(("127.0.0.1", 0), Handler)) as address:
        yield address, attempts


@contextmanager
def grpc_server(code, failures=0, released=None, port=0):
    """Answer the first attempts with an error, and all others with nothing, or with an embedding."""
    attempts = []

    class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            attempts.append(request)
            if len(attempts) <= failures:
                context.abort(code, "no such luck")
            if released:
                released.wait(1)
            response = predict_pb2.PredictResponse()
            if port:
                response.outputs["embedding"].CopyFrom(tensor([[1.0, 2.0]]))
                response.outputs["error"].CopyFrom(tensor([b""]))
            return response

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
    address = f"grpc://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield address, attempts
    finally:
        server.stop(0).wait()


def tensor(values):
    import tensorflow as tf

    return tf.make_tensor_proto(values)


@contextmanager
def late(start, port):
    """Start a server after the first attempt has failed."""
    opened = []

    def open_it():
        opened.append(start(port))
        opened[0].__enter__()

    timer = threading.Timer(0.3, open_it)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        opened[0].__exit__(None, None, None)


def late_http(port):
    return late(lambda port: http_server(200, json.dumps(ANSWER).encode(), port=port), port)


def late_grpc(port):
    return late(lambda port: grpc_server(None, port=port), port)
