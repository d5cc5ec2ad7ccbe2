"""A package index of one package."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path

from support.loopback import LoopbackServer, Request
from support.wheels import write_wheel


class SmallIndex(LoopbackServer):
    """Has ``lib`` 1.0 and 2.0, in JSON with sizes and hashes; for ``slow`` it answers only at its end.

    With ``user``, such as ``me:secret``, it wants to know who asks.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", user: str = "") -> None:
        super().__init__(host)
        self._user = user
        self.refused = 0
        self.wheels = {path.name: path for path in (write_wheel(folder, "lib", version) for version in ("1.0", "2.0"))}
        self._ends = threading.Event()

    @property
    def url(self) -> str:
        """Where packages are."""
        return f"{self.base}/simple".replace("://", f"://{self._user}@" if self._user else "://")

    @property
    def settings(self) -> str:
        """Uv's own settings for it."""
        return f'[[index]]\nurl = "{self.url}"\ndefault = true\n'

    def answer(self, request: Request) -> None:
        """Give a wheel or a page."""
        basic = base64.b64encode(self._user.encode()).decode()
        if self._user and request.headers.get("Authorization") != f"Basic {basic}":
            self.refused += 1
            request.reply(401, WWW_Authenticate="Basic")
            return
        name = request.path.strip("/").rpartition("/")[2]
        if name.endswith(".metadata"):
            version = name.split("-")[1]
            request.reply(200, f"Metadata-Version: 2.1\nName: lib\nVersion: {version}\n".encode())
        elif name in self.wheels:
            request.reply(200, self.wheels[name].read_bytes())
        elif name == "lib":
            body = {"meta": {"api-version": "1.1"}, "name": "lib", "versions": ["1.0", "2.0"], "files": self._files()}
            request.reply(200, json.dumps(body).encode(), Content_Type="application/vnd.pypi.simple.v1+json")
        else:
            if name == "slow":
                self._ends.wait(30)
            request.reply(404)

    def _files(self) -> list[dict[str, object]]:
        return [
            {
                "filename": path.name,
                "url": f"/{path.name}",
                "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                "size": path.stat().st_size,
                "core-metadata": True,
            }
            for path in self.wheels.values()
        ]

    def close(self) -> None:
        """Let those go that wait."""
        self._ends.set()
        super().close()
