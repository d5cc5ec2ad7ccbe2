"""The event stream on a real server and real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from binderlet.api.routes import create_app
from support.fake_book import nothing
from support.live import Live, served
from support.services import Stage

REQUEST = b"GET /build/gh/o/r/HEAD HTTP/1.1\r\nHost: b.test\r\nAccept: text/event-stream\r\n\r\n"


@pytest.fixture
def live() -> Iterator[Live]:
    """A service whose launches do what the test says."""
    stage = Stage()
    stage.book.plan = nothing
    with served(lambda: create_app(stage.services()), stage) as site:
        yield site


def connect(live: Live) -> socket.socket:
    """Ask for a launch, with a small buffer on the client's side."""
    client = socket.create_connection(("127.0.0.1", int(live.url.rpartition(":")[2])), timeout=5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.sendall(REQUEST)
    return client


def read_until(client: socket.socket, text: bytes) -> bytes:
    """Read until the text has come; give the last kilobytes."""
    seen = b""
    while text not in seen:
        block = client.recv(65536)
        assert block, seen[-200:]
        seen = seen[-4096:] + block
    return seen


def open_streams(live: Live) -> int:
    """Count the viewers."""
    return len(live.app.state.streams)


def test_a_viewer_that_leaves_is_forgotten(live: Live) -> None:
    """A closed connection ends its stream alone; the other viewer sees the end, and the stream closes."""
    with connect(live) as leaving:
        first = live.launch(1)
        with connect(live) as staying:
            second = live.launch(2)
            live.do(lambda: first.flood(1, "hello"))
            live.do(lambda: second.flood(1, "hello"))
            read_until(leaving, b"hello")
            read_until(staying, b"hello")
            leaving.close()
            until = time.monotonic() + 5
            while open_streams(live) > 1 and time.monotonic() < until:
                time.sleep(0.01)
            assert open_streams(live) == 1
            live.do(second.ready)
            assert b'"phase":"ready"' in read_until(staying, b"\r\n0\r\n\r\n")


def test_a_slow_reader_costs_little(live: Live) -> None:
    """Of 20 MB only what the sockets hold is made while a viewer does not read; then it gets all of it."""
    with connect(live) as client:
        launch = live.launch(1)
        live.do(lambda: launch.flood(2000, "x" * 10_000))
        time.sleep(0.5)
        made = sum("data" in event.__dict__ for event in launch.story.events)
        assert 0 < made < 1200, made
        live.do(launch.ready)
        assert b"id: launch-1-2001\n" in read_until(client, b"\r\n0\r\n\r\n")
