"""Fixtures that every test gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from support.s3_server import S3Server, s3_server


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call on the event loop from our own code fails the test."""
    with blockbuster_ctx("binderlet") as guard:
        # A traceback that is printed reads the lines of the source: rare, and never in a request that goes well.
        guard.functions["os.stat"].can_block_in("structlog/_base.py", {"_proxy_to_logger"})
        yield guard


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with keys and TLS; each test makes its own bucket."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
