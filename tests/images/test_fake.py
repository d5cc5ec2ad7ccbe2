"""The image store in memory, beyond what ``test_contract.py`` says of all stores."""

from __future__ import annotations

import pytest

from binderlet.errors import EngineUnavailable
from binderlet.images.fake import FakeImages
from binderlet.model import Image

IMAGE = Image("a:1", "sha256:1")


async def test_starts_with_what_it_is_given() -> None:
    """Images given at the start are found, and removed unless they are in use."""
    store = FakeImages(IMAGE)
    store.in_use.add(IMAGE.name)
    await store.remove(IMAGE.name)
    assert await store.find(IMAGE.name) == IMAGE
    store.in_use.clear()
    await store.remove(IMAGE.name)
    assert await store.find(IMAGE.name) is None
    await store.close()


async def test_can_be_switched_off() -> None:
    """Switched off, it answers like an engine that is down."""
    store = FakeImages(IMAGE)
    await store.refresh()
    store.is_down = True
    with pytest.raises(EngineUnavailable):
        await store.find(IMAGE.name)
