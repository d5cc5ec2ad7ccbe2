"""Fixtures that every test gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call on the event loop from our own code fails the test."""
    with blockbuster_ctx("binderlet") as guard:
        # A traceback that is printed reads the lines of the source: rare, and never in a request that goes well.
        guard.functions["os.stat"].can_block_in("structlog/_base.py", {"_proxy_to_logger"})
        yield guard
