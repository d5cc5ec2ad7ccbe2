"""The registry in memory, beyond the contract that all registries keep."""

from __future__ import annotations

import pytest

from binderlet.errors import ImageMissing, ImageRejected, ImagesUnavailable
from binderlet.images.fake import FakeImages
from binderlet.images.registry.base import Layer, Remote
from binderlet.images.registry.fake import FakeRegistry
from binderlet.model import Image

IMAGE = Image("a:1", "sha256:a", 1, {"k": "v"})


async def test_tests_look_inside() -> None:
    """What was asked, pushed and pulled is noted, and errors can be ordered."""
    images = FakeImages(IMAGE)
    registry = FakeRegistry(images, "there")
    remote = await registry.push("a:1")
    await registry.pull(remote, "b:1", lambda _: None)
    assert await registry.find("a:1") == remote
    assert (registry.pushed, registry.pulled, registry.asked) == (["a:1"], ["b:1"], ["a:1"])
    assert await registry.ping() == "there answers"
    await registry.delete("a:1")
    assert await registry.find("a:1") is None
    await registry.write_note("n", b"x")
    assert (await registry.read_note("n"), await registry.notes()) == (b"x", ["n"])
    registry.is_down = True
    with pytest.raises(ImagesUnavailable):
        await registry.ping()
    registry.is_down = False
    for missing in (registry.push("gone:1"), registry.pull(remote, "b:1", lambda _: None)):
        with pytest.raises(ImageMissing):
            await missing
    registry.error = ImageRejected("No.")
    with pytest.raises(ImageRejected):
        await registry.push("a:1")
    await registry.close()


def test_sizes() -> None:
    """An image's size is that of its layers."""
    assert Remote("a:1", "", "", (Layer("x", 3), Layer("y", 4)), {}, "", "there").size == 7
