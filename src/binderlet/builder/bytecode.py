"""Compiles new wheels in the package cache after builds, so that every later image gets their bytecode for nothing.

The cache can only be reached from a build step, so the work is one: without network, without foreign code, and
without an image as its result. It is a job like a build: it goes on when the control plane ends.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import structlog

from binderlet.builder import render
from binderlet.builder.backlog import Backlog
from binderlet.builder.job import Job, JobSpec
from binderlet.builder.keys import job_key
from binderlet.builder.steps import NO_LIMITS, Limits, mark
from binderlet.builder.toolchain import BuildCommand, Toolchain
from binderlet.errors import BinderletError

log = structlog.get_logger(__name__)

PROGRAM = "compile_wheels.py"
SECONDS = 300
"""How long one run may compile; what is left is for the next one."""
DELAY = 3.0
"""Seconds after a build: the session that waited for it starts first."""


@dataclass(frozen=True, slots=True)
class BytecodeTarget:
    """Whose cache to compile."""

    base: str
    """The base image, for its Python."""
    python: str
    namespace: str
    limits: Limits = NO_LIMITS
    """Of a build."""


class Bytecode:
    """Compiles in the background, one run at a time; what is asked for meanwhile comes next.

    ``socket`` as for ``Job``.
    """

    def __init__(self, tools: Toolchain, folder: Path, *, socket: str = "", delay: float = DELAY) -> None:
        self._socket = socket
        self._tools = tools
        self._folder = folder
        self._backlog = Backlog("bytecode", self._compile, lambda: asyncio.sleep(delay))

    def want(self, target: BytecodeTarget) -> None:
        """Compile soon. Returns at once; whatever goes wrong is only logged."""
        self._backlog.add(target.python, target)

    async def wait(self) -> None:
        """Return once there is nothing left to do."""
        await self._backlog.wait()

    async def close(self) -> None:
        """Stop waiting; a run that is under way goes on by itself. Idempotent."""
        await self._backlog.close()

    async def _compile(self, target: BytecodeTarget) -> None:
        job = Job(self._folder / target.python, self._socket)
        report = job.folder / "report"
        try:
            if not await asyncio.to_thread(job.is_running):
                await asyncio.to_thread(_prepare, job, target)
                await job.start(self._spec(job, target, report))
            outcome = await job.wait()
        except BinderletError as error:
            log.warning("wheels cannot be compiled", error=error.message)
            return
        if outcome.code:
            log.warning("wheels cannot be compiled", code=outcome.code, reason=outcome.reason, said=outcome.tail[-500:])
        else:
            compiled = await asyncio.to_thread((report / "compiled").read_text, encoding="utf-8")
            log.info("wheels compiled", python=target.python, files=int(compiled))
        await asyncio.to_thread(job.clear)

    def _spec(self, job: Job, target: BytecodeTarget, report: Path) -> JobSpec:
        name = mark(job_key(str(job.folder.absolute())))
        command = BuildCommand(
            dockerfile=job.folder / "context" / "Dockerfile",
            context=job.folder / "context",
            tag="",
            arguments={"no_proxy": name} if self._tools.can_mark else {},
            cache_namespace=target.namespace,
            network="none",
            output=report,
        )
        return JobSpec(
            self._tools.command_line(command),
            self._tools.environment,
            timeout=2 * SECONDS,
            progress="output",
            steps=target.limits.in_background()._replace(mark=name),
        )


def _prepare(job: Job, target: BytecodeTarget) -> None:
    job.clear()
    context = job.folder / "context"
    context.mkdir(parents=True)
    (context / PROGRAM).write_text((files("binderlet.builder") / PROGRAM).read_text(encoding="utf-8"), encoding="utf-8")
    # Never twice the same, or the build tool would take the step's result from its own cache.
    dockerfile = render.bytecode(target.base, target.python, PROGRAM, SECONDS, secrets.token_hex(8))
    (context / "Dockerfile").write_text(dockerfile, encoding="utf-8")
