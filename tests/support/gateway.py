"""An HTTP server that containers can reach: on this machine's address in the engine's own network."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.service import docker


@dataclass
class Served:
    """A folder that is served, and what was asked of it."""

    address: str
    """``http://host:port``."""
    requests: list[str] = field(default_factory=list)


def gateway() -> str:
    """Give this machine's address in the engine's own network."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    command = [docker(), "network", "inspect", "bridge", "--format", form]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def serve_to_containers(folder: Path) -> Iterator[Served]:
    """Serve a folder's files until the context ends."""
    host = gateway()
    served = Served("")

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - the library's
            served.requests.append(self.path)

        def log_error(self, *args: object) -> None:
            """Stay silent: clients ask for much that need not be there."""

    server = ThreadingHTTPServer((host, 0), partial(Handler, directory=str(folder)))
    served.address = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
