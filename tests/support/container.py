"""A container that is watched from outside: its server, its processes, its words; all synchronous."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any


class Container:
    """A container with the hardening of sessions; removed by ``close``."""

    def __init__(self, image: str, *arguments: str, options: Sequence[str] = ()) -> None:
        self.name = f"binderlet-test-base-{secrets.token_hex(4)}"
        hardened = ("--cap-drop=ALL", "--security-opt=no-new-privileges")
        self.run("run", "--detach", f"--name={self.name}", *hardened, *options, image, *arguments)

    def run(self, *command: str) -> str:
        """Run docker and give what it printed."""
        done = subprocess.run(["docker", *command], check=True, capture_output=True, text=True)
        return str(done.stdout).strip()

    def inside(self, *command: str) -> str:
        """Run a command inside."""
        return self.run("exec", self.name, *command)

    def logs(self) -> str:
        """Give what it printed on both streams."""
        done = subprocess.run(
            ["docker", "logs", self.name], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return str(done.stdout)

    def opened(self) -> str:
        """Give the files that its first process has open."""
        return self.inside("sh", "-c", "ls -l /proc/1/fd")

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
        """Make a request of the server; waits until it listens."""
        address = self.run("inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.name)
        headers = {"Authorization": "token t"}
        request = urllib.request.Request(f"http://{address}:8888{path}", body, headers, method=method)
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    text = answer.read()
                    is_json = "json" in answer.headers.get("Content-Type", "")
                    return answer.status, json.loads(text) if is_json else text
            except urllib.error.HTTPError as error:
                return error.code, error.read()
            except OSError:
                if time.monotonic() > deadline:
                    raise AssertionError(self.logs()) from None
                time.sleep(0.02)

    def close(self) -> None:
        """Remove it."""
        self.run("rm", "--force", "--volumes", self.name)
