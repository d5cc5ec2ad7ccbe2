"""Runs the service in this process: one per name and state folder, until it is asked to end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from binderlet.app.kubernetes import adapted, kubernetes_machinery
from binderlet.app.machinery import Machinery, fake_machinery, real_machinery
from binderlet.app.service import End, Service, Step
from binderlet.clients.memory import read_hardware
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment, network_environment, read_text
from binderlet.deploy.lock import InstanceLock
from binderlet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Handle:
    """A service that runs, for whoever started it."""

    url: str
    leave: Callable[[], None]
    """End the control plane alone; the process must then end at once, see ``Service.stop``."""


async def serve(settings: Settings, ready: Callable[[Handle], None], step: Step) -> None:
    """Run the service until it is asked to end, or cancelled.

    Cancelling ends it with everything it started; ``Handle.leave`` ends the control plane alone.

    Raises:
        BinderletError: it could not start; what was started has been ended.
    """
    state = await asyncio.to_thread(settings.paths.state.resolve)
    with InstanceLock(_name(settings), state):
        await asyncio.to_thread(_make_folders, state)
        network = await asyncio.to_thread(network_environment, settings.network, os.environ, read_text)
        step("Looking for a container engine")
        if settings.engine.kind == "kubernetes":
            settings = adapted(settings)
        if settings.pair.lease:
            from binderlet.app.pair import serve_pair  # noqa: PLC0415 - it needs this module

            await serve_pair(settings, network, state, ready, step)
            return
        machinery = await _machinery(settings, network, state)
        service = Service(settings, machinery, network, state, await asyncio.to_thread(read_hardware))
        end = End.ALL

        def leave() -> None:
            nonlocal end
            end = End.LEAVE
            service.stopping.set()

        try:
            await service.start(step)
            ready(Handle(service.url, leave))
            await service.stopping.wait()
        except Exception:
            end = End.NEW
            raise
        finally:
            await service.stop(end)


async def _machinery(settings: Settings, network: NetworkEnvironment, state: Path) -> Machinery:
    match settings.engine.kind:
        case "fake":
            return await fake_machinery()
        case "kubernetes":
            return await kubernetes_machinery(settings, network, state)
        case "docker":
            return await real_machinery(settings, network, state)


def _name(settings: Settings) -> str:
    """Give the name that no other control plane on this machine has."""
    instance, pair = settings.server.instance, settings.pair
    return f"{instance}/{pair.identity}" if pair.lease else instance


def _make_folders(state: Path) -> None:
    # HAProxy's own user passes through to the control socket; nothing else here is for others.
    try:
        (state / "run").mkdir(parents=True, exist_ok=True)
        (state / "run" / "writable").touch()
        (state / "run" / "writable").unlink()
    except OSError as error:
        raise ConfigError(f"paths.state: {state} cannot be written: {error.strerror}.") from error
