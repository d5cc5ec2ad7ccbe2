"""The helper on each node: reads what containers use, and pushes a container's memory out to swap when told.

A program of its own, which the Helm chart runs on each node from these very files: it imports nothing but Python's
own library and two modules of ``clients``. It decides nothing; ``sessions/nodes.py`` asks it.

    POST /usage   {"containers": [id, ...]} -> {"usage": {id: [cpu, resident, swap]}, "machine": {...}}
    POST /reclaim {"container": id}         -> {"problem": "why nothing could be done, or empty"}

``Authorization: Bearer`` must carry the token that ``AGENT_TOKEN`` holds.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable
from dataclasses import asdict, astuple
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from binderlet.clients.cgroups import Cgroups, CgroupsUnusable
from binderlet.clients.memory import Machine, read_machine

PORT = 8890
LONGEST = 2**20
"""Bytes of a request."""


class Agent:
    """Answers requests."""

    def __init__(self, token: str, cgroups: Cgroups, machine: Callable[[], Machine] = read_machine) -> None:
        if not token:
            raise ValueError("AGENT_TOKEN is empty: anybody could slow down this node")
        self._token = f"Bearer {token}".encode()
        self._cgroups = cgroups
        self._machine = machine

    def knows(self, authorization: str) -> bool:
        """Whether a request carries the token."""
        return hmac.compare_digest(authorization.encode(), self._token)

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        """Give status and answer to one request."""
        if path == "/usage":
            usage = self._cgroups.read(map(str, asked["containers"]))
            told = {container: astuple(one) for container, one in usage.items()}
            return HTTPStatus.OK, {"usage": told, "machine": asdict(self._machine())}
        if path == "/reclaim":
            try:
                self._cgroups.reclaim(str(asked["container"]))
            except CgroupsUnusable as error:
                return HTTPStatus.OK, {"problem": str(error)}
            return HTTPStatus.OK, {"problem": ""}
        return HTTPStatus.NOT_FOUND, {}


def serve(agent: Agent, host: str = "", port: int = PORT) -> ThreadingHTTPServer:
    """Give a server that answers once ``serve_forever`` is called."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_POST(self) -> None:
            """Answer one request; what goes wrong is told to whoever asked."""
            try:
                status, body = self._answer()
            except (KeyError, TypeError, ValueError) as error:
                status, body = HTTPStatus.BAD_REQUEST, {"error": repr(error)}
            except OSError as error:
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)}
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _answer(self) -> tuple[HTTPStatus, dict[str, Any]]:
            if not agent.knows(self.headers.get("Authorization", "")):
                return HTTPStatus.UNAUTHORIZED, {}
            length = int(self.headers.get("Content-Length", "0"))
            if length > LONGEST:
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {}
            return agent.answer(self.path, json.loads(self.rfile.read(length)))

        def log_message(self, *_: object) -> None:
            """Say nothing: it is asked every few seconds."""

    return ThreadingHTTPServer((host, port), Handler)


def main() -> None:
    """Serve until ended at ``AGENT_PORT``; ``AGENT_CGROUPS`` is where the node's control groups are mounted."""
    root = Path(os.environ.get("AGENT_CGROUPS", "/sys/fs/cgroup"))
    port = int(os.environ.get("AGENT_PORT", PORT))
    with serve(Agent(os.environ.get("AGENT_TOKEN", ""), Cgroups(root)), port=port) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
