"""Runs the service in this process: shows its start, launches what was asked for, ends it at Ctrl-C.

SIGINT and SIGTERM end everything that was started; SIGUSR1 ends the control plane alone, for a restart without loss.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import typer
import uvloop

from binderlet.cli.address import Address
from binderlet.cli.admin import connect
from binderlet.cli.follow import obtain
from binderlet.cli.progress import Display, display
from binderlet.config.schema import Settings
from binderlet.errors import BinderletError
from binderlet.logs import configure_logs, secrets_of


class Handle(Protocol):
    """A service that runs."""

    @property
    def url(self) -> str:
        """Where visitors reach it."""

    @property
    def leave(self) -> Callable[[], None]:
        """End the control plane alone: sessions and the data path go on."""


class Serve(Protocol):
    """``binderlet.app.run.serve``: runs until it is cancelled or asked to end, and then leaves nothing running."""

    def __call__(
        self, settings: Settings, ready: Callable[[Handle], None], step: Callable[[str], None], /
    ) -> Awaitable[None]:
        """Serve; calls ``step`` as each part of the start begins, and ``ready`` once it answers."""


def serve_here(settings: Settings, wanted: Address | None, serve: Serve | None = None) -> None:
    """Serve until Ctrl-C, SIGTERM or ``binderlet stop-service``.

    Raises:
        BinderletError: the service did not start.
    """
    configure_logs(settings.log, secrets=secrets_of(settings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, wanted, serve or _service()))


def _service() -> Serve:
    from binderlet.app.run import serve

    return serve


async def _serve(settings: Settings, wanted: Address | None, serve: Serve) -> None:
    ready: asyncio.Future[Handle] = asyncio.get_running_loop().create_future()
    shown = display()
    launching: asyncio.Task[str] | None = None
    async with asyncio.TaskGroup() as group:
        service = group.create_task(_run(serve, settings, ready, shown), name="service")
        with until_signal(service.cancel):
            with shown:
                await _first(service, ready)
                if ready.done() and wanted is not None:
                    launching = group.create_task(_launch(settings, wanted, shown), name="first launch")
                    await _first(service, launching)
            if ready.done() and not service.done():
                leaving = Leaving(ready.result())
                with on_signal(signal.SIGUSR1, leaving):
                    announce(ready.result(), launching.result() if launching else "")
                    await asyncio.wait({service})
                if leaving.asked and not service.cancelled() and service.exception() is None:
                    vanish()
        if launching is not None:
            launching.cancel()


class Leaving:
    """What SIGUSR1 does: asks the control plane to leave, and remembers it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.asked = False

    def __call__(self) -> None:
        """Ask it."""
        self.asked = True
        self._handle.leave()


def vanish() -> None:
    """End this process at once, as a crash would, for which everything is prepared.

    Launches and builds that go on here are not cancelled: that would end their sessions and build jobs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _first(*waited: asyncio.Future[Any]) -> None:
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)


async def _run(serve: Serve, settings: Settings, ready: asyncio.Future[Handle], shown: Display) -> None:
    def once(handle: Handle) -> None:
        if not ready.done():
            ready.set_result(handle)

    await serve(settings, once, shown.step)


async def _launch(settings: Settings, wanted: Address, shown: Display) -> str:
    """Give the link, or nothing where the launch failed: the service goes on."""
    shown.step(f"Launching {wanted.spec}")
    try:
        async with connect(settings) as client:
            return (await obtain(client, wanted, shown)).link
    except BinderletError as error:
        from binderlet.cli.main import report

        report(error)
        return ""


def announce(handle: Handle, link: str) -> None:
    """Say where the service is: the link alone on its line, for people and scripts."""
    typer.echo(f"binderlet serves at {handle.url}", err=True)
    if link:
        typer.echo("Open this link:", err=True)
        typer.echo(link)
    typer.echo("Ctrl-C ends it.", err=True)


@contextmanager
def on_signal(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Call ``act`` when this signal comes."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


@contextmanager
def until_signal(end: Callable[[], object]) -> Iterator[None]:
    """Call ``end`` at the first Ctrl-C or SIGTERM; a second one ends this process the hard way."""
    with ExitStack() as handlers:

        def caught() -> None:
            typer.echo("Stopping; once more to stop at once.", err=True)
            handlers.close()
            end()

        for number in (signal.SIGINT, signal.SIGTERM):
            handlers.enter_context(on_signal(number, caught))
        yield
