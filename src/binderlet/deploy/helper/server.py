"""Answers on the root helper's socket, which only the control plane's user can open: a thread for each connection."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path

from binderlet.deploy.helper.actions import Actions, close_all
from binderlet.deploy.helper.requests import Refused, Tend, parse

LONGEST = 65536
"""Bytes of a request."""
PATIENCE = 10.0
"""Seconds for a request to come whole."""
MOST_DESCRIPTORS = 2
MOST_AT_ONCE = 64
FIRST_PASSED = 3
"""systemd passes its sockets from this descriptor on."""
CREDENTIALS = struct.Struct("3i")


class Server:
    """Serves one listening socket for the users that are allowed, besides root."""

    def __init__(self, listener: socket.socket, actions: Actions, users: set[int]) -> None:
        self._listener = listener
        self._actions = actions
        self._users = users | {0}
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._woken, self._wake = socket.socketpair()
        self._draining = threading.Event()

    def drain(self) -> None:
        """Take no more requests; ``run`` returns when those that came are answered. Safe in a signal's handler."""
        self._draining.set()
        with contextlib.suppress(OSError):  # it drains already
            self._wake.send(b"!")

    def run(self) -> None:
        """Answer until the socket is closed, or ``drain``; who asks meanwhile waits for the next process."""
        with self._woken, self._wake:
            self._accept()
        if self._draining.is_set():
            for _ in range(MOST_AT_ONCE):
                self._places.acquire()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in ready:
                return
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                self._answer(connection)
        finally:
            self._places.release()

    def _answer(self, connection: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            connection.settimeout(PATIENCE)
            line = _read_line(connection, descriptors)
            connection.settimeout(None)
            self._check_user(connection)
            request = parse(line)
            if isinstance(request, Tend):
                # Who wants more of it asks the next process.
                self._actions.tend(request, lambda word: not self._draining.is_set() and _tell(connection, word))
                return
            answer = self._actions.do(request, descriptors)
        except Refused as refusal:
            answer = {"refused": str(refusal)}
        finally:
            close_all(descriptors)
        connection.sendall(json.dumps(answer).encode() + b"\n")

    def _check_user(self, connection: socket.socket) -> None:
        if user_of(connection) not in self._users:
            raise Refused("this user may not ask")


def user_of(connection: socket.socket) -> int:
    """Give the user at the other end, from the kernel."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    user: int = CREDENTIALS.unpack(told)[1]
    return user


def _read_line(connection: socket.socket, descriptors: list[int]) -> bytes:
    """Give the first line; what files come with it are added to ``descriptors``."""
    got = b""
    while b"\n" not in got:
        if len(got) > LONGEST:
            raise Refused("it is too long")
        room = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
        try:
            chunk, ancillary, _, _ = connection.recvmsg(4096, room)
        except TimeoutError:
            raise Refused("it did not come whole") from None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                passed = array.array("i")
                passed.frombytes(data[: len(data) - len(data) % passed.itemsize])
                descriptors += passed
        if len(descriptors) > MOST_DESCRIPTORS:
            raise Refused("there are too many files with it")
        if not chunk:
            raise Refused("it did not come whole")
        got += chunk
    return got.partition(b"\n")[0]


def _tell(connection: socket.socket, word: str) -> bool:
    """Pass on a word; False once the other side has hung up."""
    try:
        if word:
            connection.sendall(word.encode() + b"\n")
        return not select.select([connection], [], [], 0)[0]  # it says nothing more: only its end can be read
    except OSError:
        return False


def listener(environment: Mapping[str, str]) -> socket.socket:
    """Give the socket that systemd passes.

    Raises:
        RuntimeError: none was passed.
    """
    if environment.get("LISTEN_FDS") != "1":
        raise RuntimeError("systemd passes the socket: start binderlet-helper.socket")
    return socket.socket(fileno=FIRST_PASSED)


def main(environment: Mapping[str, str]) -> None:
    """Serve the owner of the socket's file."""
    passed = listener(environment)
    server = Server(passed, Actions(), {Path(passed.getsockname()).stat().st_uid})
    signal.signal(signal.SIGUSR1, lambda *_: server.drain())
    server.run()


if __name__ == "__main__":
    main(os.environ)
