"""Brings images that were built here to where sessions run, as part of their build: by a registry, or node by node."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from binderlet.builder.base import Builder, BuildRequest
from binderlet.errors import BinderletError, BuildFailed, MissingProgram, RegistryUnreachable
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image

log = structlog.get_logger(__name__)

ATTEMPTS = 3
FIRST_PAUSE = 2.0
"""Seconds before the second attempt; doubled for the third."""
TIMEOUT = 1800.0
LAST_WORDS = 600


@dataclass(frozen=True, slots=True)
class Delivery:
    """One way for images: ``source`` alone, or its output as the input of ``sink``. ``{image}`` is the name."""

    source: tuple[str, ...]
    sink: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    """Besides this process's own."""


Deliver = Callable[[str], Awaitable[str | None]]


def by_registry(push: Callable[[str], Awaitable[None]]) -> Deliver:
    """Push to the registry that images are kept in anyway."""

    async def deliver(name: str) -> str | None:
        try:
            await push(name)
        except BinderletError as error:
            return f"{error.message} {error.hint}".rstrip()
        return None

    return deliver


def by_push(program: str, environment: Mapping[str, str]) -> Delivery:
    """Push to the registry that the image's name begins with; the program knows its passwords."""
    return Delivery((program, "push", "{image}"), environment=environment)


def by_import(program: str, sink: Sequence[str], environment: Mapping[str, str]) -> Delivery:
    """Write the image as a tar archive to another program."""
    return Delivery((program, "save", "{image}"), tuple(sink), environment)


class DeliveringBuilder:
    """A builder whose images have been delivered when ``build`` returns.

    ``deliver`` takes an image's name and gives the last words of what failed, None where nothing did, as ``run`` does.
    """

    def __init__(self, builder: Builder, deliver: Deliver, *, first_pause: float = FIRST_PAUSE) -> None:
        self._builder = builder
        self._deliver_once = deliver
        self._first_pause = first_pause

    @property
    def info(self) -> dict[str, str]:
        """As the builder's."""
        return self._builder.info

    def is_outdated(self, image: Image) -> bool:
        """As the builder's."""
        return self._builder.is_outdated(image)

    async def prepare(self, log: BuildLog) -> None:
        """As the builder's."""
        await self._builder.prepare(log)

    async def build(self, request: BuildRequest, log: BuildLog) -> Image:
        """Build the image and deliver it; what was delivered before costs a look at its layers.

        Raises:
            RegistryUnreachable: it was built, but could not be delivered in several attempts.
        """
        image = await self._builder.build(request, log)
        log.write(f"Delivering {image.name} to where sessions run")
        await self._deliver(image.name, log)
        return image

    async def _deliver(self, name: str, build_log: BuildLog) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            said = await self._deliver_once(name)
            if said is None:
                return
            if attempt < ATTEMPTS:
                build_log.write(f"Attempt {attempt} failed, trying again: {said}")
                await asyncio.sleep(self._first_pause * 2 ** (attempt - 1))
        raise RegistryUnreachable(
            f"The image was built but could not be delivered: {said}",
            hint="kubernetes.delivery says how images reach the nodes; launching again tries once more.",
        )

    async def close(self) -> None:
        """As the builder's."""
        await self._builder.close()


async def run(delivery: Delivery, name: str) -> str | None:
    """Deliver one image; give the last words of what failed, None where nothing did.

    Raises:
        MissingProgram: a program is not installed.
        BuildFailed: it took longer than ``TIMEOUT``.
    """
    source = [part.replace("{image}", name) for part in delivery.source]
    environment = {**os.environ, **(delivery.environment or {})}
    running: list[asyncio.subprocess.Process] = []
    try:
        async with asyncio.timeout(TIMEOUT):
            if not delivery.sink:
                running.append(await _start(source, environment))
            else:
                read, write = os.pipe()
                try:
                    running.append(await _start(source, environment, stdout=write))
                    running.append(await _start(delivery.sink, environment, stdin=read))
                finally:
                    os.close(read)
                    os.close(write)
            outputs = await asyncio.gather(*(process.communicate() for process in running))
    except TimeoutError:
        raise BuildFailed(f"Delivering the image took longer than {TIMEOUT / 60:.0f} minutes.") from None
    finally:
        for process in running:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    for process, (out, err) in zip(running, outputs, strict=True):
        if process.returncode:
            words = ((err or b"") or (out or b"")).decode("utf-8", "replace").strip()
            return words[-LAST_WORDS:] or f"exit code {process.returncode}"
    return None


async def _start(
    command: Sequence[str], environment: Mapping[str, str], *, stdin: int | None = None, stdout: int | None = None
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
        )
    except OSError as error:
        raise MissingProgram(
            f"{command[0]} cannot be started: {error.strerror}.", hint="kubernetes.delivery and import_command name it."
        ) from error
