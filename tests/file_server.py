"""A server of files on this machine, with Range, that can break off, change its files, or know no ranges.

With some headers it passes for the Hugging Face Hub, which is first asked by HEAD.
"""

import hashlib
import http.server
import re
import threading
from contextlib import contextmanager


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, self.headers.get("Range")))
        contents = site.files.get(self.path)
        if contents is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.md5(contents).hexdigest()}"'
        start = self._start(contents, tag)
        if start is not None and start >= len(contents):
            self.send_error(416)
            return
        self.send_response(200 if start is None else 206)
        if site.has_tags:
            self.send_header("ETag", tag)
        body = contents[start or 0 :]
        for name, value in site.headers.items():
            self.send_header(name, value)
        if site.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            cut = site.cuts.pop(0) if site.cuts else None
            self.wfile.write(body[:cut])
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _start(self, contents, tag):
        site = self.server.site
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range") in (None, tag)
        return int(asked[1]) if asked and is_same and site.knows_ranges else None

    def log_message(self, *_):
        pass


class Site:
    """What a server gives: files by path, with which headers, after how many bytes it breaks off; what it was asked."""

    def __init__(self):
        self.files, self.headers, self.cuts, self.requests = {}, {}, [], []
        self.has_tags = self.tells_length = self.knows_ranges = True
        self.url = ""


@contextmanager
def serving():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that has enough goes
    server.site = Site()
    server.site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
