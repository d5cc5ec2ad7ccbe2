"""The build jobs of one control plane: each runs once however many builds wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from binderlet.builder.job import Job, JobSpec, Outcome
from binderlet.events.buildlog import BuildLog


@dataclass(slots=True)
class _Shared:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    followers: int = 0


class Files(Protocol):
    """What a job's program reads."""

    def write(self) -> None:
        """Write it into the job's folder, which exists and is empty. Blocks on the disk."""


class Jobs:
    """Starts jobs in folders below ``folder``, or follows those that run there already; ``socket`` as for ``Job``."""

    def __init__(self, folder: Path, socket: str = "") -> None:
        self._folder = folder
        self._socket = socket
        self._shared: dict[str, _Shared] = {}

    def path(self, key: str) -> Path:
        """Give the folder of a job."""
        return self._folder / key

    async def is_known(self, key: str) -> bool:
        """Whether a job of that key runs, or ended and nobody has asked for its outcome yet."""
        job = Job(self.path(key))
        return await asyncio.to_thread(job.is_running) or await asyncio.to_thread(job.outcome) is not None

    async def run(
        self, key: str, files: Files, spec: Callable[[float], JobSpec], log: BuildLog, *, deadline: float
    ) -> Outcome:
        """Give the outcome of the job ``key``, with its output in ``log`` from its first line on.

        ``spec`` gets the seconds left until ``deadline`` (of ``time.monotonic``). Cancelling ends the job when nobody
        else waits for it.
        """
        shared = self._shared.setdefault(key, _Shared())
        shared.followers += 1
        job = Job(self.path(key), self._socket)
        try:
            await log.flush()
            async with shared.turn:
                relay = await self._start_or_join(job, files, spec, log, deadline, alone=shared.followers == 1)
            return await job.wait(relay)
        except asyncio.CancelledError:
            if shared.followers == 1:
                await job.end()
            raise
        finally:
            shared.followers -= 1
            if not shared.followers:
                self._shared.pop(key, None)
                # Not awaited: this also runs while a cancelled task ends. The folder holds a few small files.
                await asyncio.shield(asyncio.to_thread(_clear, job))

    async def _start_or_join(
        self,
        job: Job,
        files: Files,
        spec: Callable[[float], JobSpec],
        log: BuildLog,
        deadline: float,
        *,
        alone: bool,
    ) -> Path | None:
        """Start the job unless it is there; gives the log that its output must be copied to, if any."""
        theirs = await asyncio.to_thread(lambda: job.log)
        running = await asyncio.to_thread(job.is_running)
        ended = not running and await asyncio.to_thread(job.outcome) is not None
        ours = log.path.absolute()
        # An outcome that nobody waited for counts only for the build whose log it is in; for others it is old news.
        if running or (ended and (not alone or theirs == ours)):
            return None if theirs == ours else log.path
        await asyncio.to_thread(_prepare, job, files)
        await job.start(spec(max(1.0, deadline - time.monotonic())))
        return None


def _prepare(job: Job, files: Files) -> None:
    job.clear()
    job.folder.mkdir(parents=True, mode=0o700)
    files.write()


def _clear(job: Job) -> None:
    if not job.is_running():
        job.clear()
