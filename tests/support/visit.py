"""A session as its visitor has it: the link's URL and token, and for tests a way into its container."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import aiohttp

from support.service import docker

Json = Any
T = TypeVar("T")


def wait_for(look: Callable[[], T], *, seconds: float, what: str) -> T:
    """Give what ``look`` finds once that is something; fail the test if it never is."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds:g} seconds: {what}")
        time.sleep(0.05)
    return found


class Visit:
    """One session, from the ``ready`` event of its launch, or from what ``binderlet launch --json`` printed."""

    def __init__(self, ready: Mapping[str, Json]) -> None:
        self.url = str(ready["url"])
        self.token = str(ready["token"])
        self.image = str(ready.get("image", ""))
        self.id = self.url.rstrip("/").rpartition("/")[2]

    def ask(self, method: str, path: str, body: Json = None, *, token: str | None = None) -> tuple[int, bytes]:
        """Make a request of the session through HAProxy; gives status and body."""
        headers = {"Authorization": f"token {self.token if token is None else token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def get(self, path: str) -> bytes:
        """Fetch a page or file of the session; anything but 200 fails the test."""
        status, body = self.ask("GET", path)
        assert status == 200, (path, status, body[:500])
        return body

    def files(self, folder: str = "") -> set[str]:
        """Name what the file browser shows."""
        return {entry["name"] for entry in json.loads(self.get(f"api/contents/{folder}"))["content"]}

    def read(self, path: str) -> str:
        """Give a text file as the editor shows it."""
        return str(json.loads(self.get(f"api/contents/{path}"))["content"])

    def run_cell(self, code: str) -> str:
        """Run code in a new kernel over its WebSocket, as a notebook does; gives what it printed."""
        status, body = self.ask("POST", "api/kernels", {"name": "python3"})
        assert status == 201, body
        kernel = json.loads(body)["id"]
        return asyncio.run(self._execute(kernel, code))

    async def _execute(self, kernel: str, code: str) -> str:
        message_id, session, printed = uuid4().hex, uuid4().hex, ""
        header = {"msg_id": message_id, "msg_type": "execute_request", "session": session, "username": "", "date": ""}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
        message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "content": content}
        url = f"{self.url}api/kernels/{kernel}/channels?session_id={session}&token={self.token}"
        async with aiohttp.ClientSession() as client, client.ws_connect(url) as socket:
            await socket.send_json({**message, "channel": "shell", "buffers": []})
            async with asyncio.timeout(60):
                async for received in socket:
                    told = received.json()
                    if told.get("parent_header", {}).get("msg_id") != message_id:
                        continue
                    kind, said = told["msg_type"], told["content"]
                    if kind in {"stream", "error"}:
                        printed += said.get("text") or "\n".join(said["traceback"])
                    if kind == "status" and said["execution_state"] == "idle":
                        return printed
        raise AssertionError(f"The kernel's WebSocket closed after {printed!r}.")

    @property
    def container(self) -> str:
        """Its container's id."""
        done = _docker("ps", "--quiet", "--no-trunc", "--filter", f"label=binderlet.session={self.id}")
        return done.strip()

    def inspect(self) -> Json:
        """Give what the engine says of the container."""
        return json.loads(_docker("inspect", self.container))[0]

    def inspect_image(self) -> Json:
        """Give what the engine says of its image."""
        return json.loads(_docker("image", "inspect", self.image))[0]

    def execute(self, *command: str) -> str:
        """Run a program in the container as its user; gives its output."""
        return _docker("exec", self.container, *command)

    def kill(self) -> None:
        """End the container as the kernel's memory killer would."""
        _docker("kill", self.container)


def _docker(*arguments: str) -> str:
    done = subprocess.run([docker(), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
