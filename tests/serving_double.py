"""A double of TF Serving for tests: what the real server does to requests, without the real server.

It loads a SavedModel with `tf.saved_model.load` and speaks both of TF Serving's languages, REST and
gRPC, the latter with the published messages and stubs of tensorflow-serving-api. As the real one does
(`tensorflow_serving/batching/batching_session.cc`), it merges requests that come at the same time,
fills the batch up to an allowed size with copies of the last request's first row, pads inputs of
different lengths with the tensor's first element, and splits the outputs along their first axis.
What passes here has met the protocol, not the server.
"""

import base64
import json
import queue
import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from ser_keras.client import EmotionClient

HTTP_STATUS = {grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.INVALID_ARGUMENT: 400}
ONLY_INPUT = ""
"""The name of an input that was given without one, for it is the only one."""

END, NOTHING_YET = None, object()


EMOTIONS = ("neutral", "sad", "angry")
"""Of the stand-in."""


class StandIn(tf.Module):
    """A model with an export's signatures whose answers follow from the length alone.

    From the length in bytes or samples n: the probability of "neutral" is the fraction n / 1000, of the
    rest "sad" takes three quarters; a step of attention is 100 long and a window 200. What does not begin
    with RIFF is an error.
    """

    def save(self, directory):
        audio_bytes = tf.TensorSpec([None], tf.string, "audio_bytes")
        numbers = [tf.TensorSpec([None], tf.int32, name) for name in ("num_samples", "sample_rate")]
        waveform = tf.TensorSpec([None, None], tf.float32, "waveform")
        functions = {
            "serving_default": self.from_bytes.get_concrete_function(audio_bytes),
            "waveform": self.from_waveform.get_concrete_function(waveform, *numbers),
            "timeline": self.timeline.get_concrete_function(audio_bytes),
            "embedding": self.embedding.get_concrete_function(audio_bytes),
        }
        tf.saved_model.save(self, str(directory), signatures=functions)
        return directory

    @tf.function
    def from_bytes(self, audio_bytes):
        return self._answer(tf.strings.length(audio_bytes), _error(audio_bytes))

    @tf.function
    def from_waveform(self, waveform, num_samples, sample_rate):
        is_inside = tf.sequence_mask(num_samples, tf.shape(waveform)[1])
        is_quiet = tf.reduce_all((tf.abs(waveform) <= 1) | ~is_inside, axis=1) & (sample_rate > 0)
        return self._answer(num_samples, tf.where(is_quiet, "", "too loud"))

    @tf.function
    def timeline(self, audio_bytes):
        error = _error(audio_bytes)
        num_windows = tf.where(error == "", tf.strings.length(audio_bytes) // 200 + 1, 0)
        is_inside = tf.sequence_mask(num_windows)  # (batch, windows)
        start = tf.zeros_like(is_inside, tf.float32) + 2 * tf.range(tf.shape(is_inside)[1], dtype=tf.float32)
        probabilities = _probabilities(num_windows)[:, None] + tf.zeros_like(start)[..., None]
        return {
            "label": tf.where(is_inside, "sad", ""),
            "confidence": tf.where(is_inside, probabilities[..., 1], 0.0),
            "abstained": tf.zeros_like(is_inside),
            "probabilities": tf.where(is_inside[..., None], probabilities, 0.0),
            "start_seconds": tf.where(is_inside, start, 0.0),
            "end_seconds": tf.where(is_inside, start + 2, 0.0),
            "num_windows": num_windows,
            "emotions": _emotions(audio_bytes),
            "error": error,
        }

    @tf.function
    def embedding(self, audio_bytes):
        error = _error(audio_bytes)
        length = tf.where(error == "", tf.cast(tf.strings.length(audio_bytes), tf.float32), 0.0)
        return {"embedding": length[:, None] * [1.0, 2.0], "error": error}

    def _answer(self, length, error):
        is_good = error == ""
        probabilities = tf.where(is_good[:, None], _probabilities(length), 0.0)
        steps = tf.sequence_mask(tf.where(is_good, length // 100 + 1, 0), dtype=tf.float32)  # (batch, steps)
        seconds = tf.range(tf.shape(steps)[1], dtype=tf.float32) + 0.5
        return {
            "label": tf.where(is_good, tf.gather(EMOTIONS, tf.argmax(probabilities, axis=1)), ""),
            "confidence": tf.reduce_max(probabilities, axis=1),
            "abstained": tf.zeros_like(is_good),
            "probabilities": probabilities,
            "emotions": _emotions(length),
            "attention": tf.math.divide_no_nan(steps, tf.reduce_sum(steps, axis=1, keepdims=True)),
            "attention_seconds": tf.zeros_like(steps) + seconds,
            "error": error,
        }


def _error(audio_bytes):
    return tf.where(tf.strings.substr(audio_bytes, 0, 4) == "RIFF", "", "not a WAV file")


def _emotions(batch):
    return tf.repeat(tf.constant(EMOTIONS)[None], tf.shape(batch)[0], axis=0)


def _probabilities(length):
    neutral = tf.cast(length % 1000, tf.float32)[:, None] / 1000
    return tf.concat([neutral, (1 - neutral) * [0.75, 0.25]], axis=1)


class RefusalError(Exception):
    """What the server answers instead of outputs."""

    def __init__(self, words, code=grpc.StatusCode.INVALID_ARGUMENT):
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Batch:
    """What the model was run on: one or more requests, and what filled them up.

    Attributes:
        signature: the name.
        inputs: arrays by name, as the model got them.
        sizes: rows of each request; the rest is filling.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Task:
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: Future

    @property
    def size(self):
        return len(next(iter(self.inputs.values())))


class ServingDouble:
    """Serve a SavedModel over REST and gRPC at free ports.

    Args:
        export_dir: the SavedModel; where its last part is a number, that is the version.
        model: the name under which it is served.
        allowed_batch_sizes: as in the real batching configuration; without any, no requests are merged.
        batch_timeout_seconds: how long a request waits for others.
        pad_variable_length_inputs: as in the real batching configuration.

    Attributes:
        batches: what the model was run on, in order.
    """

    def __init__(
        self,
        export_dir,
        model="ser",
        *,
        allowed_batch_sizes=(),
        batch_timeout_seconds=0.05,
        pad_variable_length_inputs=False,
    ):
        last = Path(export_dir).name
        self.model, self.version = model, int(last) if last.isdigit() else 1
        self.batches = []
        self._loaded = tf.saved_model.load(str(export_dir))
        self._allowed = tuple(allowed_batch_sizes)
        self._timeout, self._pads = batch_timeout_seconds, pad_variable_length_inputs
        self._tasks = queue.Queue()

    def __enter__(self):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._rpc = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Servicer(self), self._rpc)
        self.rest_url = f"http://127.0.0.1:{self._http.server_port}"
        self.grpc_address = f"127.0.0.1:{self._rpc.add_insecure_port('127.0.0.1:0')}"
        self._rpc.start()
        serve_http = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._threads = [serve_http, threading.Thread(target=self._merge_and_run)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._rpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()
        self._tasks.put(END)
        for thread in self._threads:
            thread.join()

    def check_model(self, name, version):
        if name != self.model or version not in (None, self.version):
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RefusalError(f"Servable not found for request: {asked}", grpc.StatusCode.NOT_FOUND)

    def input_dtypes(self, signature):
        """Return the NumPy type of each input of a signature; None where there is no such signature."""
        if signature not in self._loaded.signatures:
            return None
        specs = self._loaded.signatures[signature].structured_input_signature[1]
        return {name: spec.dtype.as_numpy_dtype for name, spec in specs.items()}

    def predict(self, signature, inputs):
        """Run a request, with others that come at the same time."""
        expected = set(self.input_dtypes(signature))
        for name in set(inputs) ^ expected:
            words = "input tensor alias not found in signature" if name in inputs else "missing input"
            raise RefusalError(f"{words}: {name}. Inputs expected to be in the set {{{','.join(sorted(expected))}}}.")
        if len({np.shape(array)[:1] for array in inputs.values()} - {()}) != 1:
            raise RefusalError("Batching Run() input tensors must have equal 0th-dimension size")
        task = Task(signature, inputs, Future())
        if not self._allowed:
            self._run([task])
        elif task.size > self._allowed[-1]:
            raise RefusalError(f"Task size {task.size} is larger than maximum input batch size {self._allowed[-1]}")
        else:
            self._tasks.put(task)
        return task.outputs.result()

    def _merge_and_run(self):
        task = self._tasks.get()
        while task is not END:
            batch = [task]
            following = self._fill(batch)
            self._run(batch)
            task = self._tasks.get() if following is NOTHING_YET else following

    def _fill(self, batch):
        """Add tasks until the batch is full or has waited long enough; return the first that did not fit."""
        end = time.monotonic() + self._timeout
        room = self._allowed[-1] - batch[0].size
        while room and (left := end - time.monotonic()) > 0:
            try:
                task = self._tasks.get(timeout=left)
            except queue.Empty:
                break
            if task is END or task.signature != batch[0].signature or task.size > room:
                return task
            batch.append(task)
            room -= task.size
        return NOTHING_YET

    def _run(self, tasks):
        try:
            for task, outputs in zip(tasks, self._outputs(tasks), strict=True):
                task.outputs.set_result(outputs)
        except Exception as error:
            for task in tasks:
                task.outputs.set_exception(error)

    def _outputs(self, tasks):
        sizes = tuple(task.size for task in tasks)
        num_rows = next((size for size in self._allowed if size >= sum(sizes)), sum(sizes))
        inputs = {name: self._merge([task.inputs[name] for task in tasks], num_rows) for name in tasks[0].inputs}
        self.batches.append(Batch(tasks[0].signature, inputs, sizes))
        try:
            outputs = self._loaded.signatures[tasks[0].signature](**{n: tf.constant(a) for n, a in inputs.items()})
        except tf.errors.InvalidArgumentError as error:
            raise RefusalError(error.message) from error
        outputs = {name: value.numpy() for name, value in outputs.items()}
        for name, value in outputs.items():
            if value.shape[:1] != (num_rows,):
                words = "0th dimension does not equal the sum of the 0th dimension sizes of the input tensors"
                raise RefusalError(f"Batched output tensor's {words}: {name}", grpc.StatusCode.FAILED_PRECONDITION)
        starts = np.cumsum([0, *sizes[:-1]])
        parts = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        return [{name: value[part] for name, value in outputs.items()} for part in parts]

    def _merge(self, arrays, num_rows):
        longest = np.max([array.shape[1:] for array in arrays], axis=0)
        if self._pads:
            arrays = [_padded(array, longest) for array in arrays]
        elif len({array.shape[1:] for array in arrays}) > 1:
            words = "from different tasks have different shapes and padding is turned off."
            raise RefusalError(f"Tensors {words}", grpc.StatusCode.FAILED_PRECONDITION)
        merged = np.concatenate(arrays)
        return np.concatenate([merged, np.repeat(arrays[-1][:1], num_rows - len(merged), axis=0)])


def _padded(array, shape):
    widths = [(0, 0), *((0, int(size) - have) for size, have in zip(shape, array.shape[1:], strict=True))]
    return np.pad(array, widths, constant_values=array.flat[0]) if array.ndim > 1 else array


class _Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, double):
        self._double = double

    def Predict(self, request, context):  # noqa: N802  the protocol's name
        try:
            return self._predict(request)
        except RefusalError as error:
            return context.abort(error.code, str(error))

    def _predict(self, request):
        spec = request.model_spec
        signature = spec.signature_name or "serving_default"
        self._double.check_model(spec.name, spec.version.value if spec.HasField("version") else None)
        if self._double.input_dtypes(signature) is None:
            words = f'Serving signature key "{signature}" not found.'
            raise RefusalError(words, grpc.StatusCode.FAILED_PRECONDITION)
        outputs = self._double.predict(signature, {n: tf.make_ndarray(t) for n, t in request.inputs.items()})
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = spec.name, signature
        response.model_spec.version.value = self._double.version
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
        return response


def _handler(double):
    """Make the class of the REST handlers of one server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as the real one keeps them

        def do_GET(self):
            self._answer(lambda _: _status(double, self.path))

        def do_POST(self):
            self._answer(lambda body: _predict(double, self.path, body))

        def _answer(self, respond):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, answer = 200, respond(body)
            except RefusalError as error:
                status, answer = HTTP_STATUS.get(error.code, 500), {"error": str(error)}
            except (ValueError, LookupError) as error:  # values that are no tensor, or no base64
                status, answer = 400, {"error": f"JSON Value: {error}"}
            self._send(status, json.dumps(answer).encode())

        def _send(self, status, content):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


def _model_in(double, path, ending):
    found = re.fullmatch(rf"/v1/models/([^/:]+)(?:/versions/(\d+))?{ending}", path)
    if not found:
        raise RefusalError(f"Malformed request: {path}")
    double.check_model(found[1], int(found[2]) if found[2] else None)


def _status(double, path):
    _model_in(double, path, "")
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(double.version), "state": "AVAILABLE", "status": status}]}


def _predict(double, path, body):
    _model_in(double, path, ":predict")
    try:
        request = json.loads(body)
    except ValueError as error:
        raise RefusalError(f"JSON Parse error: {error}") from error
    signature = request.get("signature_name", "serving_default")
    dtypes = double.input_dtypes(signature)
    if dtypes is None:
        raise RefusalError(f'Serving signature name: "{signature}" not found in signature def')
    if ("instances" in request) == ("inputs" in request):
        raise RefusalError("Request must have either 'instances' or 'inputs'")
    is_rows = "instances" in request
    named = _columns(request["instances"]) if is_rows else request["inputs"]
    if not isinstance(named, dict) or set(named) == {"b64"}:
        named = {ONLY_INPUT: named}
    outputs = double.predict(signature, _arrays(named, dtypes))
    columns = {name: _plain(value) for name, value in outputs.items()}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    if is_rows:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return {"predictions": only or rows}
    return {"outputs": only or columns}


def _columns(instances):
    """Turn rows into columns; a row is a value, or an object of values by name."""
    is_named = isinstance(instances[0], dict) and set(instances[0]) != {"b64"}
    if not is_named:
        return {ONLY_INPUT: instances}
    return {name: [row[name] for row in instances] for name in instances[0]}


def _arrays(named, dtypes):
    if set(named) == {ONLY_INPUT} and len(dtypes) == 1:
        named = {next(iter(dtypes)): named[ONLY_INPUT]}
    return {name: np.array(_decoded(value), dtypes.get(name)) for name, value in named.items()}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value.encode() if isinstance(value, str) else value


def _plain(array):
    """Turn an array into lists; text as text, which fails for what is no UTF-8."""
    if array.dtype == object:
        return np.vectorize(bytes.decode, otypes=[object])(array).tolist()
    return array.tolist()


def warm_up(server, clip):
    """Have every signature answer once, without haste, as the warm-up records of an export do in the real server."""
    with EmotionClient(server.rest_url, timeout_seconds=300) as client:
        for ask in (client.predict, client.timeline, client.embed):
            ask(clip)
