"""Statistics and the public archive over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette

from binderlet.api import statistics
from binderlet.api.routes import create_app
from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.tallies import Tally
from support.archives import event_line, write_archive
from support.asgi import PAGE, ask
from support.services import NOW, Stage

TODAY = datetime.fromtimestamp(NOW, UTC).toordinal()
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store(tmp_path: Path) -> StatisticsStore:
    """Two members' launches of 400 days."""
    made = StatisticsStore(tmp_path / "statistics.sqlite")
    tally = Tally(8)
    tally.minutes[600] = 8
    tally.repositories["GitHub/o/<b>"] = 6
    tally.repositories["GitHub/o/secret"] = 2
    made.take(
        "s", "f", "1", {(TODAY - 400, "old.test"): Tally(3), (TODAY, "old.test"): tally, (TODAY, "new.test"): Tally(4)}
    )
    return made


@pytest.fixture
def site(store: StatisticsStore, tmp_path: Path) -> Starlette:
    """A service with statistics and an archive."""
    folder = write_archive(tmp_path / "public", {"2027-01-15": [event_line()]})
    (folder / "index.html").write_text("<title>Launch archive</title>")
    (folder / "secret.jsonl").write_text("{}")
    return create_app(replace(Stage().services(), statistics=store, archive=folder))


async def test_the_page_has_every_number_as_a_table(site: Starlette) -> None:
    """Charts are there with their tables, also for those who see no pictures and run no script."""
    page = await ask(site, "/statistics", PAGE)
    assert page.status == 200
    assert '<figure class="chart" id="launches"' in page.text
    assert '<th scope="col">new.test</th>' in page.text
    assert "GitHub/o/&lt;b&gt;" in page.text
    assert "secret" not in page.text
    assert "new.test joined" in page.text
    assert f'value="{datetime.fromtimestamp(NOW, UTC).date()}"' in page.text
    assert ">90 days</a>" in page.text
    assert 'href="/archive/"' in page.text


@pytest.mark.parametrize(
    ("path", "kind", "starts"),
    [
        ("/statistics/launches.csv", "text/csv; charset=utf-8", b"Day,old.test,new.test\n"),
        ("/statistics/launches.json", "application/json", b'{"charts": ['),
        ("/statistics/data.json", "application/json", b'{"charts": ['),
        ("/statistics/launches.svg", "image/svg+xml", b"<?xml"),
        ("/statistics/launches.png", "image/png", b"\x89PNG"),
    ],
)
async def test_files(site: Starlette, path: str, kind: str, starts: bytes) -> None:
    """Each chart can be had as table and as picture."""
    answer = await ask(site, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == kind
    assert answer.body.startswith(starts) or starts.strip(b"{") in answer.body[:200]
    assert answer.body == (await ask(site, path)).body


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/statistics?from=yesterday", 400, "yesterday"),
        ("/statistics/data.json?from=2027-02-01&to=2027-01-01", 400, "before it begins"),
        ("/statistics/nothing.csv", 404, "nothing.csv"),
        ("/statistics/launches.exe", 404, "launches.exe"),
        ("/archive/secret.jsonl", 404, "secret"),
        ("/archive/events-2027-01-16.jsonl", 404, "2027-01-16"),
        ("/archive/..%2Fstatistics.sqlite", 404, "no page"),
    ],
)
async def test_what_is_not_there(site: Starlette, path: str, status: int, says: str) -> None:
    """The answer says what is wrong, and nothing beside the archive is given."""
    answer = await ask(site, path)
    assert answer.status == status
    assert says in answer.text


async def test_days_without_launches(site: Starlette) -> None:
    """A range of nothing says how to get something."""
    page = await ask(site, "/statistics?from=2026-12-01&to=2026-12-02", PAGE)
    assert "Nothing was launched on these days" in page.text


async def test_a_store_that_cannot_be_read(site: Starlette, store: StatisticsStore) -> None:
    """People get a page, programs JSON, both with 503."""
    await asyncio.to_thread(store.path.write_text, "no database " * 1000)
    for wal in store.path.parent.glob("*-wal"):
        await asyncio.to_thread(wal.unlink)
    assert (await ask(site, "/statistics", PAGE)).status == 503
    assert (await ask(site, "/statistics/data.json")).json()["code"] == "store_unavailable"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/archive/", "text/html; charset=utf-8"),
        ("/archive/index.html", "text/html; charset=utf-8"),
        ("/archive/index.jsonl", "application/x-ndjson"),
        ("/archive/events-2027-01-15.jsonl", "application/x-ndjson"),
    ],
)
async def test_the_archive(site: Starlette, path: str, kind: str) -> None:
    """The public files are given as they are, to other sites' scripts too."""
    answer = await ask(site, path, {"origin": "https://other.test"})
    assert answer.status == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_what_is_switched_off(app: Starlette) -> None:
    """A service without statistics has no such pages."""
    assert (await ask(app, "/statistics", PAGE)).status == 404
    assert (await ask(app, "/archive/")).status == 404


async def test_few_ranges_are_kept(site: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was counted is used again for a while, for so many ranges."""
    counted: list[object] = []

    def count(*asked: object) -> list[object]:
        counted.append(asked)
        return []

    monkeypatch.setattr(statistics, "charts_apart", count)
    monkeypatch.setattr(statistics, "KEPT", 1)
    for days in ("from=2027-01-01", "from=2027-01-01", "from=2027-01-02", "from=2027-01-01"):
        await ask(site, f"/statistics/data.json?{days}")
    assert len(counted) == 3
