"""The HTTP side on a real port, in a thread of its own, so that a browser can be used from the test."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from support.fake_book import FakeLaunch
from support.services import Stage


@dataclass
class Live:
    """A running service; what a test does with its launches happens on the service's own loop."""

    url: str
    app: Starlette
    stage: Stage
    loop: asyncio.AbstractEventLoop = field(repr=False)

    def do(self, work: Callable[[], object]) -> None:
        """Run something on the service's loop and wait until it is done."""
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(5)

    def launch(self, number: int) -> FakeLaunch:
        """Give the launch of that number, once it was asked for."""
        tries = threading.Event()
        for _ in range(500):
            if len(self.stage.book.opened) >= number:
                break
            tries.wait(0.01)
        return self.stage.book.opened[number - 1]


@contextmanager
def served(make: Callable[[], Starlette], stage: Stage) -> Iterator[Live]:
    """Serve what ``make`` gives until the end of the block; it is called in the service's thread, before its loop."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ready: queue.Queue[tuple[uvicorn.Server, Live]] = queue.Queue()

        def run() -> None:
            app = make()
            config = uvicorn.Config(
                app,
                http="httptools",
                access_log=False,
                log_level="error",
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
            server = uvicorn.Server(config)

            async def serve() -> None:
                """Hand out the handle, then serve."""
                ready.put((server, Live(url, app, stage, asyncio.get_running_loop())))
                await server.serve([listener])

            asyncio.run(serve())

        thread = threading.Thread(target=run, name="service")
        thread.start()
        server, live = ready.get(timeout=10)
        try:
            yield live
        finally:
            live.do(live.app.state.streams.close)
            server.should_exit = True
            thread.join(10)
        assert not thread.is_alive()
