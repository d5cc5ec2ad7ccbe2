"""Answers ``GET /build/`` inside the HTTP parser's own callback, without a task or an ASGI scope.

The parser is the server's (httptools), so that whatever is odd about a request is handled as for every other; only
a complete, plain request for a launch, with nothing before it on the connection that waits, takes the short way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

PREFIX = b"/build/"
Answer = Callable[[bytes, bytes], bytes | None]
"""Takes the request's target and its Cookie header; gives the whole answer, or None for the long way."""


class LaunchProtocol(HttpToolsProtocol):
    """The server's protocol with the short way."""

    _answer: Answer

    def on_headers_complete(self) -> None:
        """Answer, or hand the request to the application."""
        parser = self.parser
        if (
            not self.url.startswith(PREFIX)
            or parser.get_method() != b"GET"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.flow.write_paused
            or self._waits()
        ):
            super().on_headers_complete()
            return
        cookie = b""
        for name, value in self.headers:
            if name == b"cookie":
                cookie = value
            elif name in {b"content-length", b"transfer-encoding", b"expect"}:
                super().on_headers_complete()
                return
        answer = self._answer(self.url, cookie)
        if answer is None:
            super().on_headers_complete()
            return
        self.transport.write(answer)
        if not parser.should_keep_alive():
            self.transport.close()
        self.on_response_complete()

    def _began(self) -> bool:
        """Whether the application was ever asked on this connection; uvicorn types its None away."""
        return getattr(self, "cycle", None) is not None

    def _waits(self) -> bool:
        """Whether an answer of the application is still to come."""
        return self._began() and not self.cycle.response_complete

    def on_message_complete(self) -> None:
        """Tell a waiting application that all is there."""
        if self._began():
            super().on_message_complete()


def protocol(answer: Answer) -> type[LaunchProtocol]:
    """Make the protocol class for a server, with its own way to answer."""

    class Protocol(LaunchProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            **rest: Any,  # noqa: ANN401 - uvicorn's
        ) -> None:
            super().__init__(config=config, server_state=server_state, app_state=app_state, **rest)
            self._answer = answer

    return Protocol
