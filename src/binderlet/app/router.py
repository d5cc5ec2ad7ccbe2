"""The data path of a service, and what its HAProxy needs to start before the control plane ever ran."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from binderlet.app.https import make_https, tls_of
from binderlet.config import Settings
from binderlet.config.network import network_environment, read_text
from binderlet.router.config import MAP, Proxies
from binderlet.router.haproxy import HAProxyRouter


def proxies_of(settings: Settings) -> Proxies | None:
    """Give what HAProxy has to know of what stands before it."""
    trusted = tuple(settings.proxies.trusted)
    return Proxies(trusted, settings.proxies.proxy_protocol) if trusted else None


def make_router(settings: Settings, state: Path) -> HAProxyRouter:
    """Give the router; HAProxy is not touched yet."""
    return HAProxyRouter(
        settings.server,
        state,
        state / "run" / "control.sock",
        title=settings.pages.title,
        tls=tls_of(settings),
        proxies=proxies_of(settings),
        is_unit=settings.system.haproxy,
    )


async def write_first_files(settings: Settings) -> None:
    """Write configuration, pages, certificate and an empty table of routes, so that HAProxy can start.

    Raises:
        BinderletError: the settings do not allow it.
    """
    state = await asyncio.to_thread(settings.paths.state.resolve)
    router = make_router(settings, state)
    network = await asyncio.to_thread(network_environment, settings.network, os.environ, read_text)
    await asyncio.to_thread(router.write_files)
    if https := make_https(settings, network, state, router.set_certificate):
        await https.prepare()
    await asyncio.to_thread((state / "run" / MAP).touch)
