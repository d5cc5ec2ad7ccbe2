"""Makes the builder ready, and shows how that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from binderlet.builder.base import Builder
from binderlet.errors import BinderletError
from binderlet.events.buildlog import BuildLog
from binderlet.tasks import Tasks

logger = structlog.get_logger(__name__)

WIDTH = 160
"""Of a line that is shown."""


async def prepare_builder(builder: Builder, log: Path, tasks: Tasks, show: Callable[[str], None]) -> None:
    """Prepare it; what it says goes to a new file ``log``, and its lines to ``show`` as they come.

    Raises:
        BinderletError: it cannot be prepared; all that was said has been shown.
    """
    await asyncio.to_thread(log.unlink, missing_ok=True)
    build_log = BuildLog(log)
    showing = tasks.start(_show(build_log, show), name="base image's log")
    try:
        await builder.prepare(build_log)
    finally:
        build_log.finish()
        await showing


async def prepare_meanwhile(builder: Builder, log: Path, tasks: Tasks) -> None:
    """Prepare it while the service runs: where pods build they may be away, and images that exist need none of them.

    An error is logged: each build meets it again, and says so to whoever waits.
    """
    try:
        await prepare_builder(builder, log, tasks, lambda line: logger.info("preparing the base image", says=line))
    except BinderletError as error:
        logger.warning("the base image is not prepared", error=error.message, hint=error.hint)


async def _show(build_log: BuildLog, show: Callable[[str], None]) -> None:
    async for event in build_log.follow():
        if event.message.strip():
            show(event.message.strip()[:WIDTH])
