"""The routes on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.router import route_file
from binderlet.router.route_file import RouteFile, check_route


async def test_saved_and_loaded(tmp_path: Path) -> None:
    """What is put is in the file after saving, and another table reads it."""
    first, second = RouteFile(tmp_path / "routes.map"), RouteFile(tmp_path / "routes.map")
    first.put("a", "127.0.0.1:1")
    first.put("b", "127.0.0.1:2")
    first.drop("b")
    first.drop("never")
    await first.save()
    assert first.path.read_text() == "a 127.0.0.1:1\n"
    await second.load()
    assert second.routes == {"a": "127.0.0.1:1"}


async def test_no_file_is_no_route(tmp_path: Path) -> None:
    """A file that is not there is an empty table, and saving makes it."""
    table = RouteFile(tmp_path / "routes.map")
    await table.load()
    assert table.routes == {}
    await table.save()
    assert table.path.read_text() == ""


async def test_bad_lines_are_skipped(tmp_path: Path) -> None:
    """A damaged file gives the routes that can be read; of two for one session the first counts."""
    path = tmp_path / "routes.map"
    path.write_bytes(b"a 127.0.0.1:1\na 127.0.0.1:2\n\nB 127.0.0.1:3\nc\nd nowhere:1\n\xff\xfe 1\ne 127.0.0.1:5\n")
    table = RouteFile(path)
    await table.load()
    assert table.routes == {"a": "127.0.0.1:1", "e": "127.0.0.1:5"}


async def test_savers_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred changes at once need two writes at most, and the file has them all."""
    writes: list[str] = []
    plain = route_file.write_atomically

    def counted(path: Path, text: str) -> None:
        writes.append(text)
        plain(path, text)

    monkeypatch.setattr(route_file, "write_atomically", counted)
    table = RouteFile(tmp_path / "routes.map")

    async def one(number: int) -> None:
        table.put(f"s-{number}", "127.0.0.1:9")
        await table.save()

    await asyncio.gather(*(one(number) for number in range(100)))
    assert len(writes) <= 2
    assert len(table.path.read_text().splitlines()) == 100


@pytest.mark.parametrize(
    ("session_id", "address", "words"),
    [
        ("A", "127.0.0.1:1", "not a session id"),
        ("a\n", "127.0.0.1:1", "not a session id"),
        ("a", "host:1", "not an IPv4 address"),
        ("a", "127.0.0.1:", "no port"),
        ("a", "127.0.0.1:70000", "no port"),
    ],
)
def test_odd_routes(session_id: str, address: str, words: str) -> None:
    """What HAProxy would misread is refused with a sentence."""
    with pytest.raises(ValueError, match=words):
        check_route(session_id, address)


def test_longest_id() -> None:
    """63 characters are a session id."""
    check_route("a" * 63, "10.0.0.1:65535")
