"""Serve a web page on this machine to upload or record a clip."""

import argparse
import json
from typing import NoReturn

from ser_keras.errors import InputError

DETAILS = """\
Needs pip install 'ser-keras[demo]'. The page loads nothing from other machines. Browsers record from
the microphone at 127.0.0.1, and elsewhere by https only. There is no login: whoever can reach --host
can use it. Ctrl-C ends it.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `demo`."""
    parser.epilog = DETAILS
    parser.add_argument("--model", required=True, metavar="DIR", help="run directory, or exported model")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="0 for a free one (default: 7860)")


def run(options: argparse.Namespace) -> NoReturn:
    """Print the address, and serve the page until it is interrupted."""
    try:
        from ser_keras import demo
    except ImportError as error:
        raise InputError(
            f"the page needs packages that cannot be loaded ({error}): pip install 'ser-keras[demo]'"
        ) from error
    from ser_keras.inference import Predictor

    with demo.bind(options.host, options.port) as listening:
        app = demo.demo_app(Predictor(options.model), name=options.model)
        url = _url(*listening.getsockname()[:2])
        print(json.dumps({"url": url}) if options.json else url, file=options.results, flush=True)
        print(f"shows {options.model}; Ctrl-C ends it", flush=True)
        demo.demo_server(app).run(sockets=[listening])
    raise KeyboardInterrupt  # the server ends on it without raising it


def _url(host: str, port: int) -> str:
    """Return the address of the page.

    Example:
        >>> _url("127.0.0.1", 7860), _url("::1", 80)
        ('http://127.0.0.1:7860', 'http://[::1]:80')
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
