"""Which environments have been built, on which base image, and when each was used last: one small file each."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from binderlet.builder.conda.recipe import key_parts
from binderlet.builder.keys import environment_key
from binderlet.builder.plan import Plan

log = structlog.get_logger(__name__)

ENVIRONMENT_IMAGE = "binderlet/env"
"""What their images are called; the tag is the key."""
PLATFORM = f"linux/{platform.machine()}"


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment; as a base image of ``foundation`` it is the one that it was built on."""

    key: str
    family: str
    """Its key as it would be on any base image of its Python: environments of one family have the same files."""
    name: str
    """The base image's name."""
    id: str
    """The base image's content id."""
    python: str
    """The base image's Python."""
    used_at: float = 0.0
    """Seconds since the epoch."""

    @property
    def image(self) -> str:
        """Its own image, ``repository:tag``, which may have been removed."""
        return f"{ENVIRONMENT_IMAGE}:{self.key}"


def key_of(plan: Plan, base_id: str, channels: Sequence[str]) -> str:
    """Give the key of the environment that a plan asks for; ``channels`` are conda's where its file names none."""
    return environment_key(
        base_id=base_id,
        platform=PLATFORM,
        apt=plan.apt,
        requirements=plan.requirements,
        main=plan.requirements_file,
        options=plan.installer_options,
        conda=key_parts(plan.conda, channels, plan.exclude_newer) if plan.conda else (),
    )


class Environments:
    """The environments of one builder, below ``folder``; a file's time of change is that of the last use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def use(self, environment: Environment) -> None:
        """Put on record that an environment is there, and used now."""
        await asyncio.to_thread(self._write, environment)

    async def listed(self) -> list[Environment]:
        """Give all that are on record, the one used last first; their images may have been removed."""
        return await asyncio.to_thread(self._read)

    async def family(self, family: str) -> list[Environment]:
        """Give those of a family, the one used last first."""
        return [each for each in await self.listed() if each.family == family]

    async def forget(self, key: str) -> None:
        """Take one off the record, whose image is gone. Idempotent."""
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _write(self, environment: Environment) -> None:
        path = self._path(environment.key)
        try:
            os.utime(path)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_text(json.dumps(asdict(environment)), encoding="utf-8")
            path.with_suffix(".new").replace(path)

    def _read(self) -> list[Environment]:
        found = []
        for path in self._folder.glob("*.json"):
            try:
                body = json.loads(path.read_text(encoding="utf-8"))
                found.append(replace(Environment(**body), used_at=path.stat().st_mtime))
            except FileNotFoundError:  # forgotten in this moment
                continue
            except (ValueError, TypeError) as error:
                log.warning("an environment's record cannot be read", path=str(path), error=str(error))
        return sorted(found, key=lambda each: -each.used_at)
