"""The record of environments."""

from __future__ import annotations

import os
from pathlib import Path

from structlog.testing import capture_logs

from binderlet.builder.environments import Environment, Environments


def environment(key: str, family: str = "f") -> Environment:
    """One environment."""
    return Environment(key, family, "base:1", "sha256:1", "3.11")


async def test_last_use(tmp_path: Path) -> None:
    """Each use counts, what was used last comes first, and a family is apart from others."""
    kept = Environments(tmp_path / "environments")
    assert await kept.listed() == []
    for key, family in (("a", "f"), ("b", "f"), ("c", "g")):
        await kept.use(environment(key, family))
    for at, key in enumerate(("c", "a", "b")):
        os.utime(tmp_path / "environments" / f"{key}.json", (at, at))
    assert [each.key for each in await kept.listed()] == ["b", "a", "c"]
    await kept.use(environment("a"))
    assert [each.key for each in await kept.family("f")] == ["a", "b"]
    (first, *_) = await kept.listed()
    assert (first.image, first.id, first.used_at > 1000) == ("binderlet/env:a", "sha256:1", True)


async def test_forget(tmp_path: Path) -> None:
    """What is forgotten is not listed; twice is once."""
    kept = Environments(tmp_path)
    await kept.use(environment("a"))
    await kept.forget("a")
    await kept.forget("a")
    assert await kept.listed() == []


async def test_damaged(tmp_path: Path) -> None:
    """A record that cannot be read is left out, with a warning; one that goes meanwhile, without."""
    kept = Environments(tmp_path)
    (tmp_path / "x.json").write_text("{")
    (tmp_path / "y.json").write_text("{}")
    (tmp_path / "z.json").symlink_to(tmp_path / "nothing")
    with capture_logs() as logs:
        assert await kept.listed() == []
    assert len(logs) == 2
