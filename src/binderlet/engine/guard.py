"""Keeps the rules of ``egress`` in force for the sessions' bridges, by itself as root or through the root helper."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from binderlet.clients import nftables
from binderlet.clients.helper import HelperRefused, ask
from binderlet.clients.nftables import NftablesUnusable
from binderlet.config.egress import EgressSettings, split_destination
from binderlet.engine.egress import Rules, mark, render, table
from binderlet.errors import ConfigError
from binderlet.model import Check

log = structlog.get_logger(__name__)

EVERY = 60.0
"""Seconds between looks: whoever loads a whole set of rules, as nftables' own unit does, throws ours away."""
WEB = {80, 443}
BUILD_BRIDGES = ("docker0", "podman0", "cni-podman0")
"""Where build steps run: the engines' default networks."""


class Holds(Protocol):
    """What the sessions' networks need of ``Guard``."""

    async def hold(self, bridges: Sequence[str]) -> None:
        """Have the rules in force for these interfaces before any session is on them.

        Raises:
            ConfigError: they must be, and cannot.
        """


class Unheld:
    """Where nothing is kept from sessions, as in most tests."""

    async def hold(self, bridges: Sequence[str]) -> None:
        """Do nothing."""


class Guard:
    """``hold`` sets the rules, ``run`` keeps them, ``release`` takes them away.

    ``name`` is the service's on this machine, ``helper`` the root helper's socket, and ``urls`` what sessions must
    reach wherever it is: proxies and package indexes. An engine that is ``elsewhere`` has its bridges on that machine.
    """

    def __init__(
        self,
        settings: EgressSettings,
        name: str,
        *,
        helper: str = "",
        urls: Sequence[str] = (),
        elsewhere: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._name = name
        self._helper = helper
        self._urls = urls
        self._elsewhere = elsewhere
        self._sleep = sleep
        self._bridges: tuple[str, ...] = ()
        self._problem = ""

    async def hold(self, bridges: Sequence[str]) -> None:
        """See ``Holds``."""
        self._bridges = tuple(bridges)
        if self._settings.mode == "off":
            with suppress(NftablesUnusable):
                await asyncio.to_thread(self._remove)
            return
        await self._look()
        if self._problem and self._settings.mode == "required":
            raise ConfigError(
                f"egress.mode: it is required, but the rules cannot be set: {self._problem}.",
                hint="Mend that, or set egress.mode to auto to go on without.",
            )

    async def run(self) -> None:
        """Look again and again, until cancelled; does nothing where there is nothing to keep."""
        while self._settings.mode != "off":
            await self._sleep(EVERY)
            await self._look()

    def check(self) -> Check:
        """Say how it is; from memory."""
        must = self._settings.mode == "required"
        if self._settings.mode == "off":
            said = "Off: sessions reach whatever this machine reaches."
        else:
            said = f"Not in force: {self._problem}." if self._problem else "In force."
        return Check("Network rules", ok=not self._problem, message=said, ignore_failure=not must)

    async def release(self) -> None:
        """Take the rules away, once no session is left. Idempotent."""
        if self._settings.mode != "off" and not self._problem:
            try:
                await asyncio.to_thread(self._remove)
            except NftablesUnusable as error:
                log.warning("the network rules stay", error=str(error))

    async def _look(self) -> None:
        try:
            changed = await asyncio.to_thread(self._apply)
        except NftablesUnusable as error:
            if self._problem != str(error):
                log.warning("sessions may reach what they like", error=str(error), setting="egress.mode")
            self._problem = str(error)
            return
        self._problem = ""
        if changed:
            log.info("sessions are held to the network rules", bridges=self._bridges)

    def _apply(self) -> bool:
        if self._elsewhere:
            raise NftablesUnusable("the container engine is on another machine")
        reached = (each for url in self._urls for each in addresses(url))
        allow = {*map(split_destination, self._settings.allow), *reached}
        builds = BUILD_BRIDGES if self._settings.builds else ()
        rules = Rules(self._name, self._bridges, tuple(self._settings.ports), tuple(sorted(allow)), builds)
        if not self._helper:
            return nftables.ensure(table(rules.name), mark(rules), render(rules))
        more = {
            "bridges": list(rules.bridges),
            "ports": list(rules.ports),
            "allow": list(map(" ".join, rules.allow)),
            "builds": list(rules.builds),
        }
        return bool(self._asked("egress", more).get("changed"))

    def _remove(self) -> None:
        if self._helper:
            self._asked("egress-end", {})
        else:
            nftables.remove(table(self._name))

    def _asked(self, verb: str, more: dict[str, list[str]]) -> dict[str, object]:
        try:
            answer = ask(self._helper, verb, name=self._name, **more)
        except HelperRefused as error:
            raise NftablesUnusable(str(error)) from error
        if failed := answer.get("failed"):
            raise NftablesUnusable(str(failed))
        return answer


def addresses(url: str) -> list[tuple[str, str]]:
    """Give what must be let through for a URL, each as subnet and port; blocks, and is empty for what is anyway.

    Sessions never reach a loopback address of this machine, and a name that is not known now is looked up again later.
    """
    parts = urlsplit(url if "//" in url else f"//{url}")
    if not parts.hostname:
        return []
    port = parts.port or (80 if parts.scheme == "http" else 443)
    with suppress(OSError):
        found = {ip_address(each[4][0]) for each in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)}
        return [
            (f"{address}/{address.max_prefixlen}", str(port))
            for address in sorted(found, key=str)
            if not address.is_loopback and not (address.is_global and port in WEB)
        ]
    return []
