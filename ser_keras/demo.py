"""The demo page: upload or record a clip, see its emotion, all probabilities and the timeline.

Needs ``pip install 'ser-keras[demo]'``. The page needs no network: its fonts are the system's, and its
Content-Security-Policy forbids the browser requests to other machines.
"""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import fastapi
import gradio
import numpy as np
import uvicorn

from ser_keras.audio import read_audio
from ser_keras.audio_io.sound_files import look_at_sound
from ser_keras.errors import InputError, require
from ser_keras.explanation import Attention
from ser_keras.inference import Predictor
from ser_keras.plots import figure_to_svg, timeline_figure
from ser_keras.predictions import Prediction, Timeline
from ser_keras.predictions.notebook import emotion_colours
from ser_keras.templates import render

LONGEST_SECONDS = 300.0
"""A longer recording is refused."""

MOST_BYTES = 100 * 2**20
"""A larger upload is refused; the longest recording fits in stereo, at 48 kHz and 24 bits."""

_MOST_WAITING = 16  # requests; they run one after another
_KEPT_SECONDS = 600  # uploads are deleted then, and when the server stops
_CLOSING_SECONDS = 1  # for open connections, as the page keeps one

_NO_PREDICTION = '<p class="note">The prediction comes here.</p>'
_FROM_HERE_ONLY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
)


def predict_html(predictor: Predictor, path: str | Path) -> str:
    """Return the emotion, probabilities and timeline of a recording as HTML, or why it cannot be used."""
    path = Path(path)
    waveform, error = _read(path, predictor.sample_rate)
    if error:
        return _error(path, error)
    (prediction,), (timeline,) = predictor.predict([path]), predictor.timeline([path])
    if error := prediction.error or timeline.error:
        return _error(path, error)
    return _result(prediction, _picture(waveform, predictor.sample_rate, prediction, timeline))


def build_demo(predictor: Predictor, *, name: str) -> gradio.Blocks:
    """Build the page.

    Args:
        predictor: the model.
        name: of the model, as the page shows it.
    """
    limits = {"minutes": LONGEST_SECONDS / 60, "megabytes": MOST_BYTES / 2**20, "kept_minutes": _KEPT_SECONDS / 60}
    start = render("demo_start.html", name=name, emotions=predictor.emotions, **limits).decode()

    def predict(path: str | None) -> str:
        return predict_html(predictor, path) if path else _NO_PREDICTION

    with gradio.Blocks(title="ser_keras", analytics_enabled=False, delete_cache=(60, _KEPT_SECONDS)) as page:
        gradio.HTML(start, elem_id="start", apply_default_css=False)
        with gradio.Row(equal_height=False):
            with gradio.Column(scale=2, min_width=320):
                audio = gradio.Audio(label="Recording", type="filepath", buttons=[])
            with gradio.Column(scale=3, min_width=460):
                html = gradio.HTML(_NO_PREDICTION, elem_id="result", apply_default_css=False)
        audio.input(predict, audio, html, api_visibility="private")
    return page.queue(max_size=_MOST_WAITING, default_concurrency_limit=1)


def demo_app(predictor: Predictor, *, name: str) -> fastapi.FastAPI:
    """Return the page as a web application, for any ASGI server.

    Args:
        predictor: the model.
        name: of the model, as the page shows it.
    """
    app = fastapi.FastAPI(openapi_url=None)
    app.middleware("http")(_forbid_other_machines)
    return gradio.mount_gradio_app(
        app,
        build_demo(predictor, name=name),
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=MOST_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=_theme(),
        css=render("demo.css").decode(),
    )


def bind(host: str, port: int) -> socket.socket:
    """Open the port of a server, at which connections wait from now on.

    Args:
        host: address of this machine at which it can be reached.
        port: 0 for one that is free.

    Raises:
        InputError: the address is not one of this machine, or the port is taken or not allowed.
    """
    require(0 <= port < 2**16, "port", port, "0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise InputError(f"{host}, port {port}: {reason}; give another `host` or `port`, 0 for a free one") from error


def demo_server(app: fastapi.FastAPI) -> uvicorn.Server:
    """Return the server of the page; its `run(sockets=[...])` takes what `bind` returns, and blocks.

    Args:
        app: as `demo_app` returns it.
    """
    return uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=_CLOSING_SECONDS))


def _read(path: Path, sample_rate: int) -> tuple[np.ndarray, str]:
    """Return the waveform of a recording, float32 `(samples,)`, and why it cannot be read."""
    facts = look_at_sound(path)
    if facts and facts.seconds > LONGEST_SECONDS:  # it is not even decoded
        return np.zeros(0, np.float32), f"too long: {facts.seconds:.1f} s, at most {LONGEST_SECONDS:.1f} s"
    return read_audio(path, sample_rate=sample_rate, max_seconds=LONGEST_SECONDS)


def _error(path: Path, error: str) -> str:
    return render("demo_error.html", text=f"{path.name}: {error}").decode()


def _result(prediction: Prediction, picture: str) -> str:
    return render(
        "demo_result.html",
        prediction=prediction,
        probabilities=sorted(prediction.probabilities.items(), key=lambda each: -each[1]),
        colours=emotion_colours(prediction.probabilities),
        picture=picture,
    ).decode()


def _picture(waveform: np.ndarray, sample_rate: int, prediction: Prediction, timeline: Timeline) -> str:
    attention = Attention(prediction.attention_seconds, prediction.attention) if len(prediction.attention) else None
    figure = timeline_figure(waveform, sample_rate, timeline, attention=attention)
    shown = "Waveform" + ("" if attention is None else ", attention")
    return figure_to_svg(figure, f"{shown} and probability of each emotion over time")


def _theme() -> gradio.themes.Base:
    fonts = [gradio.themes.Font(name) for name in ("system-ui", "sans-serif")]
    return gradio.themes.Default(primary_hue="blue", font=fonts, font_mono=[gradio.themes.Font("monospace")])


async def _forbid_other_machines(
    request: fastapi.Request, respond: Callable[[fastapi.Request], Awaitable[fastapi.Response]]
) -> fastapi.Response:
    response = await respond(request)
    response.headers["Content-Security-Policy"] = _FROM_HERE_ONLY
    return response
