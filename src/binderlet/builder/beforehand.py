"""Finds out which packages an environment gets before its build step starts, with the service's settings."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement

from binderlet.builder.base_recipe import PLATFORMS, base_pins, own_python, whole_python
from binderlet.builder.index import only_index, uv_configuration
from binderlet.builder.plan import Plan
from binderlet.builder.resolution import Resolution
from binderlet.builder.resolver import Resolver
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.events.buildlog import BuildLog


class Beforehand:
    """Resolves for the base images of these settings; ``folder`` keeps what the index said."""

    def __init__(self, settings: BuilderSettings, network: NetworkEnvironment, folder: Path) -> None:
        self._settings = settings
        self._network = network
        suite = PLATFORMS.get(settings.base_suite, "unknown-linux-gnu")
        self._resolver = Resolver(folder, network, f"{platform.machine()}-{suite}")

    async def prepare(self) -> None:
        """Learn about the Python that uv is run with, so that no build need wait for that."""
        await self._resolver.resolve(["# nothing"], own_python(self._settings))

    async def resolve(self, asked: Sequence[Requirement], plan: Plan, log: BuildLog) -> Resolution | None:
        """Give what an environment will have; None where that cannot be told in time. ``log`` gets a line on it.

        ``asked`` is what ``stack.asked_by`` says of the plan.
        """
        started = time.perf_counter()
        pins = await self.base_pins(plan.python)
        found = await self._resolver.resolve(
            asked,
            whole_python(self._settings, plan.python),
            prefer=pins,
            settings=uv_configuration(self._network, self._settings, plan),
            options=plan.installer_options,
        )
        if found is None:
            return None
        log.write(f"Resolved {len(found.packages)} packages in {time.perf_counter() - started:.2f}s")
        # Of an unlocked base image it is not known which packages are there, and may stay.
        return replace(found, index=only_index(self._network) if pins else "")

    async def sizes(self, pins: Collection[str], plan: Plan) -> Mapping[str, int]:
        """Give the bytes of packages' wheels by their pins; none where they cannot be told."""
        if not pins:
            return {}
        uv = uv_configuration(self._network, self._settings, plan)
        python = whole_python(self._settings, plan.python)
        found = await self._resolver.resolve(pins, python, settings=uv, options=["--no-deps"])
        return found.sizes if found is not None else {}

    async def base_pins(self, python: str) -> tuple[str, ...]:
        """Give the packages of the base image as pins, as far as they are known."""
        return tuple((await asyncio.to_thread(base_pins, self._settings, python)).split())
