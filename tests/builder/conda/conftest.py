"""What tests of conda share: two real channels on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.conda_channel import Served, serve_channels


@pytest.fixture(scope="session")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the channel ``ours``."""
    with serve_channels(tmp_path_factory.mktemp("channels"), "ours") as served:
        yield served
