"""A builder without a service; ``test_session_contract.py`` builds with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.builder.workbench import open_workbench
from binderlet.config import Settings
from support.workshop import NETWORK


@pytest.mark.docker
async def test_open(tmp_path: Path) -> None:
    """It finds this machine's engine and build tool, and reads the image store."""
    async with open_workbench(Settings(), NETWORK, tmp_path) as bench:
        assert bench.tools.description == bench.builder.info["tool"]
        assert await bench.images.find("binderlet-test/none:1") is None
