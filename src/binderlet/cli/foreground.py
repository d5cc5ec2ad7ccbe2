"""Runs the service in this process: shows its start, launches what was asked for, ends it at Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
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
from binderlet.tasks import Tasks


class Handle(Protocol):
    """A service that runs."""

    @property
    def url(self) -> str:
        """Where visitors reach it."""


class Serve(Protocol):
    """``binderlet.app.serve``: runs until it is cancelled or asked to end, and then leaves nothing running."""

    def __call__(
        self, settings: Settings, ready: Callable[[Handle], None], step: Callable[[str], None]
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
    from binderlet.app import serve

    return serve


async def _serve(settings: Settings, wanted: Address | None, serve: Serve) -> None:
    ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    shown = display()
    async with Tasks("up") as tasks:
        service: asyncio.Future[Any] = tasks.start(_run(serve, settings, ready, shown), name="service")
        with until_signal(service.cancel):
            with shown:
                await asyncio.wait([service, ready], return_when=asyncio.FIRST_COMPLETED)
                if ready.done() and wanted is not None:
                    launching = tasks.start(_launch(settings, wanted, shown), name="first launch")
                    await asyncio.wait({service, launching}, return_when=asyncio.FIRST_COMPLETED)
                    link = launching.result() if launching.done() else ""
                else:
                    link = ""
                if service.done() and not service.cancelled():
                    service.result()
            if ready.done() and not service.done():
                announce(ready.result(), link)
            await asyncio.wait({service})
    if not service.cancelled():
        service.result()


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


class until_signal:  # noqa: N801 - reads as a verb, like contextlib's
    """Call ``end`` at the first Ctrl-C or SIGTERM; a second one ends this process the hard way."""

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._caught)

    def _caught(self) -> None:
        typer.echo("Stopping; once more to stop at once.", err=True)
        self._restore()
        self._end()

    def _restore(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    def __exit__(self, *_: object) -> None:
        self._restore()
