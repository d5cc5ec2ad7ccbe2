"""Asks the running service for a launch or a build and waits for its end; ``launch``, ``build`` and ``up`` share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from binderlet.cli.address import Address
from binderlet.cli.admin import AdminClient, error_named
from binderlet.cli.progress import Display
from binderlet.cli.stream import Event, follow
from binderlet.errors import BinderletError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    link: str
    """What opens the session in a browser, token included; empty for a build."""
    body: Mapping[str, Any]
    """The ``ready`` event."""


async def obtain(client: AdminClient, address: Address, display: Display, *, build_only: bool = False) -> Result:
    """Launch, or only build, and show how it comes along.

    Raises:
        ServiceUnavailable: the service does not answer.
        BinderletError: it failed or was refused, as the service said.
    """
    spec = f"{address.spec.provider}/{quote(address.spec.spec, safe='/%:@!$&()*+,;=~')}"
    url = client.url(f"/build/{spec}{'?build_only=true' if build_only else ''}")
    ready: Mapping[str, Any] = {}
    async for event in follow(client.session, url):
        if event.phase == "failed":
            raise failure(event)
        display.event(event)
        ready = event.body  # the last one is
    return Result("" if build_only else link(ready, address.path), ready)


def link(ready: Mapping[str, Any], path: str = "") -> str:
    """Give the link of a ready session; with a path, the one that opens this file in JupyterLab."""
    place = f"lab/tree/{quote(path.strip('/'))}" if path.strip("/") else ""
    return f"{ready['url']}{place}?token={quote(str(ready['token']))}"


def failure(event: Event) -> BinderletError:
    """Make a ``failed`` event the error that it was in the service; its hint is not said twice."""
    hint = str(event.body.get("hint") or "")
    message = event.message.removesuffix(hint).rstrip() if hint else event.message
    return error_named(str(event.body.get("code") or "launch_failed"), message or "It failed.", hint)
