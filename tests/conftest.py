"""Fixtures that every test gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from support.builder_cluster import BuilderCluster, builder_cluster
from support.own_cluster import (  # noqa: F401 - hooks, which pytest finds by their names
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_protocol,
    pytest_sessionfinish,
)
from support.s3_server import S3Server, s3_server

POOLS = ("asyncio_", "ThreadPoolExecutor-", "hibernate_", "housekeeper_")
GRACE = 10.0
"""Seconds that a thread which has been told to end may take."""


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call on the event loop from our own code fails the test."""
    with blockbuster_ctx("binderlet") as guard:
        # A traceback that is printed reads the lines of the source: rare, and never in a request that goes well.
        guard.functions["os.stat"].can_block_in("structlog/_base.py", {"_proxy_to_logger"})
        yield guard


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """A thread that a test leaves behind fails it: the interpreter waits for such threads and would never end."""
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        # Those of pools are ended by their pools; those that are daemons by the interpreter.
        if thread not in before and not thread.daemon and not thread.name.startswith(POOLS):
            thread.join(GRACE)
            assert not thread.is_alive(), f"{thread.name} goes on after the test"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with keys and TLS; each test makes its own bucket."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuilderCluster]:
    """Builder pods in a real cluster."""
    with builder_cluster(tmp_path_factory.mktemp("builders")) as made:
        yield made
