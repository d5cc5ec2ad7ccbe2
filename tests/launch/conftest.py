"""Fixtures for launches on fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.launches import Workshop


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    """A launch side with ten places."""
    async with Workshop(tmp_path) as made:
        yield made
