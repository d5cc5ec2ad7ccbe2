"""A unix socket that leads to another one until it is cut, as an engine goes down, and again once it is mended."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

CHUNK = 65536
LATE = 0.5


class CuttableSocket:
    """Listens at ``path`` and carries every connection to ``target``; begins mended."""

    def __init__(self, path: Path, target: str = "/var/run/docker.sock") -> None:
        self.path = path
        self.lose_answer_to = b""
        """A request with these bytes is carried out, but ``LATE`` seconds later the way is cut, before any answer."""
        self.is_cut = threading.Event()
        self._target = target
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def mend(self) -> None:
        """Listen again."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(128)
        self._listener = listener
        self.is_cut.clear()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """End every connection and refuse new ones; the file stays."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
            listener.close()
        with self._lock:
            for connection in self._open:
                _end(connection)
        self.is_cut.set()

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                with self._lock:
                    self._open |= {near, far}
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        silent = threading.Event()
        back = threading.Thread(target=_answers, args=(far, near, silent), daemon=True)
        back.start()
        self._requests(near, far, silent)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _requests(self, near: socket.socket, far: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := near.recv(CHUNK):
                if self.lose_answer_to and self.lose_answer_to in chunk:
                    self.lose_answer_to = b""
                    silent.set()
                    threading.Timer(LATE, self.cut).start()
                far.sendall(chunk)
        _end_writing(far)


def _answers(far: socket.socket, near: socket.socket, silent: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while chunk := far.recv(CHUNK):
            if not silent.is_set():
                near.sendall(chunk)
    _end_writing(near)


def _end_writing(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
