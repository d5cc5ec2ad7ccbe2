"""Talks to the running service over the unix socket that only this machine's operator can open."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from binderlet import errors
from binderlet.errors import BinderletError, ServiceUnavailable

if TYPE_CHECKING:
    from binderlet.config.schema import Settings

CALL_TIMEOUT = 30.0
"""Seconds for one short call."""


def socket_path(settings: Settings) -> Path:
    """Give where the service listens for its operator."""
    return settings.paths.state / "run" / "admin.sock"


class AdminClient:
    """An open connection to the service."""

    def __init__(self, session: aiohttp.ClientSession, base: URL) -> None:
        self.session = session
        self._base = base

    def url(self, path: str) -> URL:
        """Give the URL of a path, percent-encoded as it is."""
        return URL(f"{self._base}{path}", encoded=True)

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Ask for JSON."""
        return await self.call("GET", path)

    async def call(self, method: str, path: str) -> Any:  # noqa: ANN401 - JSON
        """Make one call and give its JSON, or None where there is nothing to say.

        Raises:
            ServiceUnavailable: the service does not answer.
            BinderletError: it answered with one of our errors.
        """
        with service_errors():
            timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT)
            async with self.session.request(method, self.url(path), timeout=timeout) as response:
                body = await response.text()
        if response.ok:
            return json.loads(body) if body else None
        raise error_of(response.status, body)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[AdminClient]:
    """Open a connection to the service of these settings; it is made with the first call."""
    connector = aiohttp.UnixConnector(str(socket_path(settings)))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield AdminClient(session, URL(f"http://127.0.0.1:{settings.server.port}"))


@contextmanager
def service_errors() -> Iterator[None]:
    """Raise ``ServiceUnavailable`` instead of what aiohttp raises when the service does not answer."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise ServiceUnavailable(
                "This user may not talk to the service.",
                hint="Run this as the user that runs the service, or with sudo.",
            ) from error
        raise ServiceUnavailable("No service runs here.") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ServiceUnavailable(
            f"The service does not answer: {str(error) or type(error).__name__}.", hint="Look at its log."
        ) from error


def error_of(status: int, body: str) -> BinderletError:
    """Make the service's answer the error that it was there."""
    try:
        told = json.loads(body)
        message, code, hint = str(told["message"]).strip(), str(told.get("code", "")), str(told.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ServiceUnavailable(f"The service answered {status} without saying why.", hint="Look at its log.")
    return error_named(code, message, hint)


def error_named(code: str, message: str, hint: str) -> BinderletError:
    """Give the error of that code; an unknown code makes a plain one."""
    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BinderletError))
    kind = next((kind for kind in kinds if kind.code == code), BinderletError)
    return kind(message, hint=hint)
