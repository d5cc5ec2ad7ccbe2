"""GitHub's commits API as recorded from api.github.com: statuses, headers and the part of the body that is read."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from support.loopback import LoopbackServer, Request


class ForgeServer(LoopbackServer):
    """Answers ``GET /repos/{user}/{repo}/commits/{ref}`` from ``repositories``: ``user/repo`` to ref to commit id.

    A repository without refs is empty. ``token``, when set, is the only one let in; asking again with the right
    ETag costs no quota.
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, str]], *, quota: int = 60, token: str = "") -> None:
        super().__init__()
        self.repositories = {name: dict(refs) for name, refs in repositories.items()}
        self.quota = quota
        self.token = token
        self.reset = int(time.time()) + 1500
        """When the quota is new, in seconds since the epoch."""
        self.requests: list[str] = []
        """Path and query of each request so far."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.forced: tuple[int, dict[str, str], bytes] | None = None
        """A status, headers and body given to every request instead."""

    def answer(self, request: Request) -> None:
        """Answer as GitHub does."""
        request.body()
        time.sleep(self.delay)
        self.requests.append(request.path)
        if self.forced is not None:
            status, headers, body = self.forced
            request.reply(status, body, **headers)
        elif self.token and request.headers.get("Authorization") != f"token {self.token}":
            self._say(request, 401, "Bad credentials")
        elif self.quota <= 0:
            self._say(request, 403, "API rate limit exceeded for 127.0.0.1.")
        else:
            self._look_up(request)

    def _look_up(self, request: Request) -> None:
        _, _, user, repo, _, ref = unquote(urlsplit(request.path).path).split("/", 5)
        refs = self.repositories.get(f"{user}/{repo}")
        self.quota -= 1
        if refs is None:
            self._say(request, 404, "Not Found")
        elif not refs:
            self._say(request, 409, "Git Repository is empty.")
        elif ref not in refs:
            self._say(request, 422, f"No commit found for SHA: {ref}")
        else:
            self._found(request, refs[ref])

    def _found(self, request: Request, sha: str) -> None:
        etag = f'W/"{hashlib.sha256(sha.encode()).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            self.quota += 1
            request.reply(304, b"", ETag=etag, **self._quota_headers())
            return
        body = {
            "sha": sha,
            "node_id": "MDY6Q29tbWl0",
            "commit": {"author": {"name": "Ada", "date": "2024-01-01T00:00:00Z"}, "message": "Change"},
            "parents": [],
            "files": [],
        }
        self._reply(request, 200, body, ETag=etag)

    def _say(self, request: Request, status: int, message: str) -> None:
        body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
        self._reply(request, status, body)

    def _reply(self, request: Request, status: int, body: object, **headers: str) -> None:
        headers = {"Content_Type": "application/json; charset=utf-8", **headers, **self._quota_headers()}
        request.reply(status, json.dumps(body).encode(), **headers)

    def _quota_headers(self) -> dict[str, str]:
        return {
            "X_RateLimit_Limit": "60",
            "X_RateLimit_Remaining": str(max(0, self.quota)),
            "X_RateLimit_Reset": str(self.reset),
        }
