"""Taking archives in: from folders, and over HTTP as mybinder's archive is served."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from binderlet.dashboard import importing
from binderlet.dashboard.importing import Progress, import_archive
from binderlet.dashboard.store import StatisticsStore
from binderlet.errors import ArchiveUnavailable
from support.archives import archive_server, event_line, write_archive

DAYS = {
    "2024-05-06": [event_line(), event_line(), b"no launch\n"],
    "2024-05-07": [event_line("2024-05-07T10:00:00+00:00", origin="two.test")],
}


@pytest.fixture
def store(tmp_path: Path) -> StatisticsStore:
    """Statistics of nothing yet."""
    return StatisticsStore(tmp_path / "statistics.sqlite")


def launches(store: StatisticsStore) -> dict[str, int]:
    """Launches per member."""
    found: dict[str, int] = {}
    for row in store.days(1, 10**6):
        found[row.member] = found.get(row.member, 0) + row.launches
    return found


async def test_a_folder(tmp_path: Path, store: StatisticsStore) -> None:
    """Each file is counted once; a second run looks at what changed alone."""
    folder = await asyncio.to_thread(write_archive, tmp_path / "archive", DAYS)
    told: list[Progress] = []
    done = await import_archive(str(folder), store, tell=told.append)
    assert (done.files, done.of, done.unchanged, done.events, done.skipped) == (2, 2, 0, 3, 1)
    assert [progress.files for progress in told] == [0, 1, 2]
    assert await asyncio.to_thread(launches, store) == {"one.test": 2, "two.test": 1}
    again = await import_archive(str(folder), store, tell=told.append)
    assert (again.unchanged, again.events) == (2, 0)
    await asyncio.to_thread(write_archive, folder, {"2024-05-06": [event_line()] * 5})
    changed = await import_archive(str(folder), store, tell=told.append)
    assert (changed.unchanged, changed.events) == (1, 5)
    assert await asyncio.to_thread(launches, store) == {"one.test": 5, "two.test": 1}


async def test_only_the_newest(tmp_path: Path, store: StatisticsStore) -> None:
    """A look at the last day leaves the others alone."""
    folder = await asyncio.to_thread(write_archive, tmp_path / "archive", DAYS)
    await import_archive(str(folder), store, tell=lambda _: None, newest=1)
    assert await asyncio.to_thread(launches, store) == {"two.test": 1}


async def test_packed_and_single_files(tmp_path: Path, store: StatisticsStore) -> None:
    """Files may be packed with gzip, and one file may be named alone."""
    folder = tmp_path / "archive"
    folder.mkdir()
    packed = folder / "events-2024-05-06.jsonl.gz"
    await asyncio.to_thread(packed.write_bytes, gzip.compress(event_line() * 4))
    assert (await import_archive(str(folder), store, tell=lambda _: None)).events == 4
    assert (await import_archive(str(packed), store, tell=lambda _: None)).events == 4


@pytest.mark.timeout(60)
async def test_large_archives_are_counted_by_several_processes(
    tmp_path: Path, store: StatisticsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts are the same, whoever counts."""
    monkeypatch.setattr(importing, "SMALL", 0)
    folder = await asyncio.to_thread(write_archive, tmp_path / "archive", DAYS)
    await import_archive(str(folder), store, tell=lambda _: None, workers=2)
    assert await asyncio.to_thread(launches, store) == {"one.test": 2, "two.test": 1}


async def test_over_http(tmp_path: Path, store: StatisticsStore) -> None:
    """The index names the files; what it counts as before is not asked for again."""
    folder = await asyncio.to_thread(write_archive, tmp_path / "archive", DAYS)
    with archive_server(folder) as server:
        done = await import_archive(server.url + "/index.jsonl", store, tell=lambda _: None)
        assert done.events == 3
        server.asked.clear()
        await asyncio.to_thread(
            write_archive, folder, {**DAYS, "2024-05-08": [event_line("2024-05-08T00:00:00+00:00")] * 2}
        )
        done = await import_archive(server.url, store, tell=lambda _: None)
        assert (done.unchanged, done.events) == (2, 2)
        assert server.asked == ["/index.jsonl", "/events-2024-05-08.jsonl"]
        single = await import_archive(server.url + "/events-2024-05-06.jsonl", store, tell=lambda _: None)
        assert single.events == 2
    assert await asyncio.to_thread(launches, store) == {"one.test": 4, "two.test": 1}


async def test_a_server_that_stumbles_is_asked_again(
    tmp_path: Path, store: StatisticsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 503 and a cut connection do not end an import."""
    monkeypatch.setattr(importing, "PAUSE", 0.001)
    folder = await asyncio.to_thread(write_archive, tmp_path / "archive", DAYS)
    with archive_server(folder) as server:
        server.failures = [503, 0]
        assert (await import_archive(server.url, store, tell=lambda _: None)).events == 3


@pytest.mark.parametrize(("failures", "said"), [([404, 404], "404"), ([500] * 9, "500")], ids=["gone", "broken"])
async def test_a_server_that_does_not_answer(
    tmp_path: Path, store: StatisticsStore, monkeypatch: pytest.MonkeyPatch, failures: list[int], said: str
) -> None:
    """The error names the URL and what it answered; what was taken in stays."""
    monkeypatch.setattr(importing, "PAUSE", 0.001)
    folder = await asyncio.to_thread(write_archive, tmp_path / "archive", DAYS)
    with archive_server(folder) as server:
        server.failures = [200, *failures]
        with pytest.raises(ArchiveUnavailable, match=said):
            await import_archive(server.url, store, tell=lambda _: None)
        server.failures = []
        await import_archive(server.url, store, tell=lambda _: None)
    assert await asyncio.to_thread(launches, store) == {"one.test": 2, "two.test": 1}


async def test_nothing_listens(store: StatisticsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is not there is an error with its reason."""
    monkeypatch.setattr(importing, "PAUSE", 0.001)
    with pytest.raises(ArchiveUnavailable, match="cannot be read"):
        await import_archive("http://127.0.0.1:9", store, tell=lambda _: None)


@pytest.mark.parametrize("index", ["<html>", '{"name": "x"}', '{"name": "x", "count": "many"}'])
async def test_an_index_that_is_none(tmp_path: Path, store: StatisticsStore, index: str) -> None:
    """A page that is no index is told as such."""
    await asyncio.to_thread((tmp_path / "index.jsonl").write_text, index)
    with archive_server(tmp_path) as server, pytest.raises(ArchiveUnavailable, match="no index"):
        await import_archive(server.url, store, tell=lambda _: None)


async def test_a_folder_without_archives(tmp_path: Path, store: StatisticsStore) -> None:
    """The error says which files were looked for."""
    with pytest.raises(ArchiveUnavailable, match="no files events-"):
        await import_archive(str(tmp_path), store, tell=lambda _: None)
