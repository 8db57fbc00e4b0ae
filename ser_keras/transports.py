"""Transports to TF Serving: REST by requests, gRPC by grpcio.

Both return the same arrays and raise the same one-line errors. The libraries themselves retry a broken connection; a
response of the server, good or bad, is final.
"""

import base64
import importlib
import json
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from ser_keras.errors import InputError, require
from ser_keras.predictions.outputs import Outputs

_FIRST_WAIT_SECONDS = 0.2  # before the second attempt; it doubles from then on


class ServingError(Exception):
    """The server cannot be reached, or its response is of no use.

    The message is one line with the server, what happened and the remedy.
    """


@dataclass(frozen=True)
class Server:
    """A server, and the errors of requests to it.

    Attributes:
        address: as `EmotionClient` takes it.
        model: its name on the server.
        version: of the model; None for the newest.
        timeout_seconds: longest wait for a response, in seconds.
        retries: attempts after the first.
    """

    address: str
    model: str
    version: int | None
    timeout_seconds: float
    retries: int

    def unreachable(self, reason: object) -> ServingError:
        """Return the error for a server that does not respond."""
        remedy = "check the address and that the server runs; REST is mostly at port 8501, gRPC at 8500"
        return self._fault(f"cannot be reached ({_line(reason)})", remedy)

    def late(self) -> ServingError:
        """Return the error for a response that takes too long."""
        return self._fault(
            f"no response within {self.timeout_seconds:g} s", "raise timeout_seconds or lower batch_size"
        )

    def refusal(self, signature: str, code: str, words: str) -> ServingError:
        """Return the error for an error of the server, with its remedy."""
        version = "" if self.version is None else f", version {self.version}"
        if code in ("HTTP 404", "NOT_FOUND"):
            remedy = f"model {self.model!r}{version} is not served there: check model and version"
        elif "signature" in words.lower():
            remedy = (
                f"the served model has no {signature!r} as asked for: export it again with this version of ser-keras"
            )
        elif "batch size" in words.lower():
            remedy = "lower batch_size"
        elif code == "UNIMPLEMENTED":
            remedy = "that is not TF Serving: check the address"
        else:
            remedy = "see the server's log"
        return self._fault(f"responded {code}: {_line(words)}", remedy)

    def strange(self, signature: str, error: Exception) -> ServingError:
        """Return the error for outputs that are not those of an export."""
        fault = f"missing {error}" if isinstance(error, KeyError) else _line(error)
        remedy = "check the address, and that an export of this version of ser-keras is served there"
        return self._fault(f"the outputs of {signature!r} are not those of an export ({fault})", remedy)

    def _fault(self, fault: str, remedy: str) -> ServingError:
        return ServingError(f"{self.address}: {fault}; {remedy}")


def _line(words: object) -> str:
    """Return the server's text on one line; a proxy may send a whole page."""
    text = " ".join(str(words).split()) or "no text"
    return text if len(text) <= 300 else f"{text[:300]}..."


def connect(server: Server) -> "_Rest | _Grpc":
    """Choose the transport by the address.

    Raises:
        InputError: the address is invalid, or the transport's library is not installed.
    """
    scheme, has_scheme, _ = server.address.rpartition("://")
    scheme = scheme if has_scheme else "grpc"
    parts = urlsplit(server.address if has_scheme else f"grpc://{server.address}")
    is_rest = scheme in ("http", "https")
    try:
        is_whole = bool(parts.hostname) and (is_rest or parts.port is not None)
    except ValueError:  # a port that is no number
        is_whole = False
    expected = "http://host:8501, https://host:8501, grpc://host:8500, grpcs://host:8500 or host:8500"
    require(is_whole and (is_rest or scheme in ("grpc", "grpcs")), "address", server.address, expected)
    return _Rest(server) if is_rest else _Grpc(server, parts.netloc, is_secure=scheme == "grpcs")


def _load(library: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise InputError(f"{library} is not installed; pip install 'ser-keras[client]'") from error


class _Rest:
    """REST, by requests."""

    def __init__(self, server: Server):
        self._server, self._requests = server, _load("requests")
        version = "" if server.version is None else f"/versions/{server.version}"
        self._url = f"{server.address.rstrip('/')}/v1/models/{quote(server.model, safe='')}{version}:predict"
        self._session = self._requests.Session()
        adapter = self._requests.adapters.HTTPAdapter(max_retries=_connection_retry(server.retries))
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def outputs(self, signature: str, audio_bytes: list[bytes]) -> Outputs:
        encoded = [{"b64": base64.b64encode(each).decode()} for each in audio_bytes]
        body = json.dumps({"signature_name": signature, "inputs": {"audio_bytes": encoded}})
        response = self._post(body.encode())
        if response.status_code != 200:
            raise self._server.refusal(signature, f"HTTP {response.status_code}", _error_in(response.text))
        try:
            return {name: np.asarray(value) for name, value in json.loads(response.content)["outputs"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._server.strange(signature, error) from error

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        timeout = self._server.timeout_seconds
        try:
            return self._session.post(self._url, body, headers=headers, timeout=timeout, allow_redirects=False)
        except self._requests.ReadTimeout as error:
            raise self._server.late() from error
        except self._requests.RequestException as error:
            raise self._server.unreachable(_root(error)) from error

    def close(self) -> None:
        self._session.close()


def _connection_retry(retries: int) -> Any:
    """Retry a connection that breaks; neither a slow response, nor a response of any status."""
    from urllib3.exceptions import ReadTimeoutError
    from urllib3.util import Retry

    class ConnectionRetry(Retry):
        def increment(self, *args, error=None, **kwargs):
            if isinstance(error, ReadTimeoutError):
                raise error
            return super().increment(*args, error=error, **kwargs)

    return ConnectionRetry(
        total=retries,
        backoff_factor=_FIRST_WAIT_SECONDS,
        allowed_methods={"POST"},
        status_forcelist=(),
        respect_retry_after_header=False,
    )


def _root(error: BaseException) -> BaseException:
    """Return the first cause: the error of the operating system."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _error_in(text: str) -> str:
    """Return the text in TF Serving's ``{"error": ...}``, or the whole body."""
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text


class _Grpc:
    """gRPC, by grpcio and the messages of `ser_keras.serving.protocol`."""

    def __init__(self, server: Server, target: str, *, is_secure: bool):
        self._server, self._grpc = server, _load("grpc")
        _load("google.protobuf")
        from ser_keras.serving import protocol

        self._protocol = protocol
        options = _channel_options(server.retries)
        if is_secure:
            self._channel = self._grpc.secure_channel(target, self._grpc.ssl_channel_credentials(), options)
        else:
            self._channel = self._grpc.insecure_channel(target, options)
        self._predict = self._channel.unary_unary(
            protocol.PREDICT_METHOD,
            request_serializer=protocol.PredictRequest.SerializeToString,
            response_deserializer=protocol.PredictResponse.FromString,
        )

    def outputs(self, signature: str, audio_bytes: list[bytes]) -> Outputs:
        server, codes = self._server, self._grpc.StatusCode
        inputs = {"audio_bytes": np.array(audio_bytes, object)}
        request = self._protocol.predict_request(server.model, signature, inputs, server.version)
        try:
            return self._protocol.outputs_of(self._predict(request, timeout=server.timeout_seconds))
        except self._grpc.RpcError as error:
            if error.code() is codes.DEADLINE_EXCEEDED:
                raise server.late() from error
            if error.code() is codes.UNAVAILABLE:
                raise server.unreachable(error.details()) from error
            raise server.refusal(signature, error.code().name, error.details() or "") from error
        except ValueError as error:
            raise server.strange(signature, error) from error

    def close(self) -> None:
        self._channel.close()


def _channel_options(retries: int) -> list[tuple[str, Any]]:
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": f"{_FIRST_WAIT_SECONDS}s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    method = {"name": [{"service": "tensorflow.serving.PredictionService"}]}
    method |= {"retryPolicy": policy} if retries else {}
    return [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.service_config", json.dumps({"methodConfig": [method]})),
        ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),  # a larger request is not tried again
        ("grpc.initial_reconnect_backoff_ms", 100),  # else attempts fail without a new connection
        ("grpc.max_reconnect_backoff_ms", 1_000),
    ]
