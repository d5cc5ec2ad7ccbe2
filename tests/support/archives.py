"""Archives of launches for tests: lines, folders and a server that gives them as mybinder's does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def event_line(timestamp: str = "2024-05-06T07:08:00+00:00", spec: str = "owner/repo/HEAD", **more: object) -> bytes:
    """One line of a public archive."""
    event = {
        "timestamp": timestamp,
        "schema": "binderhub.jupyter.org/launch",
        "version": 6,
        "provider": "GitHub",
        "spec": spec,
        "ref": "a" * 40,
        "status": "success",
        "origin": "one.test",
    }
    return json.dumps(event | more).encode() + b"\n"


def write_archive(folder: Path, days: Mapping[str, list[bytes]]) -> Path:
    """Write a folder as an archive has it: a file for each day, and the index."""
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for day, lines in days.items():
        (folder / f"events-{day}.jsonl").write_bytes(b"".join(lines))
        index.append(json.dumps({"name": f"events-{day}.jsonl", "date": day, "count": str(len(lines))}))
    (folder / "index.jsonl").write_text("\n".join(index))
    return folder


class ArchiveServer(ThreadingHTTPServer):
    """Gives the files of a folder; ``failures`` are the status codes of the next answers, 0 cuts the connection."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.failures: list[int] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: ArchiveServer

    def do_GET(self) -> None:
        """Give a file."""
        self.server.asked.append(self.path)
        status = self.server.failures.pop(0) if self.server.failures else 200
        path = self.server.folder / self.path.lstrip("/")
        if status == 0:
            self.close_connection = True
            return
        body = path.read_bytes() if status == 200 and path.is_file() else b""
        self.send_response(status if status != 200 or path.is_file() else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@contextmanager
def archive_server(folder: Path) -> Iterator[ArchiveServer]:
    """Serve a folder until the end of the block."""
    with ArchiveServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
