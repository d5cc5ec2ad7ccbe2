"""Asks the root helper of an installed machine: one JSON line there, one back, over a unix socket.

The build supervisor imports this without site-packages, so it needs nothing but the standard library. What the helper
does and refuses is in ``binderlet.deploy.helper``. Everything here blocks.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

TIMEOUT = 60.0
"""Seconds for one answer; pushing out a session's memory takes some on a busy disk."""
LONGEST = 65536
"""Bytes of a line."""


class HelperRefused(Exception):
    """The helper does not do it; the message is the end of a sentence."""


class HelperAway(HelperRefused):
    """The helper does not answer, which it may soon."""


def ask(path: str, verb: str, **more: object) -> dict[str, Any]:
    """Have something done, and give the answer.

    Raises:
        HelperRefused: it was not done.
    """
    try:
        with _connect(path) as connection:
            _send(connection, {"verb": verb, **more})
            return _answer(connection)
    except OSError as error:
        raise HelperAway(f"the root helper does not answer: {error}") from error


def make_system(
    path: str, suite: str, lines: Sequence[str], environment: Mapping[str, str], descriptors: tuple[int, int]
) -> int:
    """Have the Debian part of a base image written to the first descriptor, its words to the other; gives its code.

    Raises:
        HelperRefused: it was not begun.
    """
    try:
        with _connect(path) as connection:
            connection.settimeout(None)
            body = {"verb": "system", "suite": suite, "lines": list(lines), "environment": dict(environment)}
            passed = array.array("i", descriptors)
            connection.sendmsg([json.dumps(body).encode() + b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
            return int(_answer(connection)["code"])
    except OSError as error:
        raise HelperAway(f"the root helper does not answer: {error}") from error


class Tending:
    """The helper keeps one build's steps in their place while this is open."""

    def __init__(self, path: str, limits: Mapping[str, object]) -> None:
        self._path = path
        self._limits = limits
        self._connection: socket.socket | None = None

    def tend(self, _now: float) -> str:
        """Give ``disk`` where a step has written too much; asks again where the helper was started anew."""
        with contextlib.suppress(OSError):
            if self._connection is None:
                self._connection = _connect(self._path)
                _send(self._connection, {"verb": "tend", **self._limits})
                self._connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                said = self._connection.recv(64)
                if said:
                    return said.decode("ascii", "replace").strip()
                self.close()
            return ""
        self.close()
        return ""

    def close(self) -> None:
        """Let the steps be. Idempotent."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _send(connection: socket.socket, body: Mapping[str, object]) -> None:
    connection.sendall(json.dumps(body).encode() + b"\n")


def _answer(connection: socket.socket) -> dict[str, Any]:
    with connection.makefile("rb") as file:
        line = file.readline(LONGEST)
    try:
        answer: dict[str, Any] = json.loads(line)
        refusal = answer.get("refused")
    except (ValueError, AttributeError):
        raise HelperAway("the root helper hung up") from None
    if refusal:
        raise HelperRefused(str(refusal))
    return answer


def main(arguments: Sequence[str]) -> int:
    """Write the Debian part of a base image to the standard output: ``SOCKET SUITE LINE...``."""
    path, suite, *lines = arguments
    names = ("http_proxy", "https_proxy", "no_proxy")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    try:
        return make_system(path, suite, lines, environment, (1, 2))
    except HelperRefused as error:
        os.write(2, f"error: {error}\n".encode())
        return 1


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
