"""A way to a TCP server that can be closed and cut, so that a server seems gone without any harm to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Gate:
    """Passes connections to a port of 127.0.0.1 on to the server; each runs in threads of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0

    def open(self) -> None:
        """Take connections, at the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._listener is not None:
            # Closing alone would not wake whoever accepts.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._listener = None
        self.cut()

    def cut(self) -> None:
        """End the connections that are open."""
        with self._lock:
            ending, self._open = self._open, set()
        for one in ending:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(ours,), daemon=True).start()

    def _join(self, ours: socket.socket) -> None:
        with ours, contextlib.suppress(OSError), socket.create_connection(self._target) as theirs:
            with self._lock:
                self._open |= {ours, theirs}
            back = threading.Thread(target=_pump, args=(theirs, ours), daemon=True)
            back.start()
            _pump(ours, theirs)
            back.join()
            with self._lock:
                self._open -= {ours, theirs}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def gated_kubeconfig(original: Path, folder: Path) -> Iterator[tuple[Gate, Path]]:
    """Give a gate to a kubeconfig file's API server, and a kubeconfig file that leads through it."""
    content = yaml.safe_load(original.read_text())
    context = next(one["context"] for one in content["contexts"] if one["name"] == content["current-context"])
    cluster = next(one["cluster"] for one in content["clusters"] if one["name"] == context["cluster"])
    server = urlsplit(cluster["server"])
    host = server.hostname or ""
    gate = Gate(host, server.port or 443)
    gate.open()
    try:
        cluster |= {"server": f"https://127.0.0.1:{gate.port}"}
        cluster.setdefault("tls-server-name", host)
        path = folder / "gated-kubeconfig"
        path.write_text(yaml.safe_dump(content))
        yield gate, path
    finally:
        gate.close()
