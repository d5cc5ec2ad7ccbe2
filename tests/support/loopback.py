"""An HTTP server on a free loopback port, in a thread of its own, for standing in for foreign services."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Request(BaseHTTPRequestHandler):
    """One request; ``answer`` of the server's owner gets it."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # many small writes are one packet
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Print nothing."""

    def handle_one_request(self) -> None:
        """Let clients go away when they like."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def body(self) -> bytes:
        """Read the request's body, chunked or not."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer in one piece; underscores in header names mean hyphens."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in {204, 304}:
            self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer any method alike."""
        self.server.answer(self)

    do_POST = do_GET  # noqa: N815 - the base class looks for this name


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, answer: Callable[[Request], None], host: str) -> None:
        self.answer = answer
        super().__init__((host, 0), Request)


class LoopbackServer:
    """Start and stop; a subclass says what to answer."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._server = _Server(self.answer, host)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base(self) -> str:
        """Its address, such as ``http://127.0.0.1:<port>``."""
        return f"http://{self._host}:{self._server.server_address[1]}"

    def answer(self, request: Request) -> None:
        """Answer one request; runs in a thread per connection."""
        raise NotImplementedError

    def start(self) -> Self:
        """Serve until ``close``."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving and free the port. Idempotent."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
