"""``/statistics`` and ``/archive``: launches in numbers, and the public files they are counted from."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from binderlet.api.errors import as_html
from binderlet.api.ports import Services
from binderlet.api.site import Site
from binderlet.api.visitor import base_url
from binderlet.dashboard.charts import Chart, to_csv, to_json
from binderlet.dashboard.draw import FORMATS, draw_apart
from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.views import Range, charts_apart, read_range
from binderlet.errors import BinderletError

KEPT = 16
"""Ranges and pictures kept, for as long as nothing new is counted."""
FRESH = 60.0
"""Seconds for which charts are not counted again."""
TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jsonl": "application/x-ndjson",
    "html": "text/html; charset=utf-8",
}
NAMES = re.compile(r"events-\d{4}-\d\d-\d\d\.jsonl|index\.(jsonl|html)")
Key = TypeVar("Key")
Kept = TypeVar("Kept")
PRESETS = (("30 days", 30), ("90 days", 90), ("a year", 365))


class Statistics:
    """The endpoints; one range is counted, and one picture drawn, at a time."""

    def __init__(self, services: Services, site: Site, store: StatisticsStore) -> None:
        self._services = services
        self._site = site
        self._store = store
        self._turn = asyncio.Lock()
        self._charts: OrderedDict[Range, tuple[float, Sequence[Chart]]] = OrderedDict()
        self._pictures: OrderedDict[tuple[Chart, str], bytes] = OrderedDict()

    async def page(self, request: Request) -> Response:
        """Show all charts of a range."""
        try:
            shown, extent = await self._range(request)
            charts = await self._make(shown)
        except BinderletError as error:
            return self._site.problem(request, error)
        today = datetime.fromtimestamp(self._services.clock(), UTC).toordinal()
        first, last = extent or (today, today)
        spans = [(name, Range(max(first, last - days + 1), last)) for name, days in PRESETS if last - first >= days]
        presets = [(name, f"/statistics?{query_of(span)}") for name, span in [*spans, ("all", Range(first, last))]]
        page = self._services.pages.statistics(
            base_url(request.scope, request.headers, self._services.settings.server.public_url),
            charts,
            query=query_of(shown),
            presets=presets,
            archive=self._services.archive is not None,
        )
        return as_html(page)

    async def file(self, request: Request) -> Response:
        """Give one chart, or all as JSON, as a file."""
        name, _, kind = request.path_params["file"].partition(".")
        try:
            shown, _ = await self._range(request)
            charts = await self._make(shown)
            if (name, kind) == ("data", "json"):
                return _answer(to_json(charts).encode(), kind)
            chart = next((chart for chart in charts if chart.id == name), None)
            if chart is None or kind not in TYPES:
                return await self._site.not_found(request)
            return _answer(await self._render(chart, kind), kind)
        except BinderletError as error:
            return self._site.problem(request, error)

    async def _range(self, request: Request) -> tuple[Range, tuple[int, int] | None]:
        asked = request.query_params
        extent = await asyncio.to_thread(self._store.extent)
        today = datetime.fromtimestamp(self._services.clock(), UTC).toordinal()
        return read_range(asked.get("from", ""), asked.get("to", ""), extent, today), extent

    async def _make(self, shown: Range) -> Sequence[Chart]:
        async with self._turn:
            made, charts = self._charts.get(shown, (0.0, ()))
            now = self._services.clock()
            if now - made > FRESH:
                least = self._services.settings.statistics.least
                charts = await asyncio.to_thread(charts_apart, self._store.path, shown, least)
                _keep(self._charts, shown, (now, charts))
        return charts

    async def _render(self, chart: Chart, kind: str) -> bytes:
        if kind == "csv":
            return to_csv(chart).encode()
        if kind not in FORMATS:
            return to_json([chart]).encode()
        async with self._turn:
            picture = self._pictures.get((chart, kind))
            if picture is None:
                picture = await asyncio.to_thread(draw_apart, chart, kind)
                _keep(self._pictures, (chart, kind), picture)
        return picture


class PublicArchive:
    """The public files of launches, and nothing else that may be in their folder."""

    def __init__(self, folder: Path, site: Site) -> None:
        self._folder = folder
        self._site = site

    async def answer(self, request: Request) -> Response:
        """Give a day's file, the index, or its page."""
        name = request.path_params.get("name") or "index.html"
        path = self._folder / name
        if NAMES.fullmatch(name) is None or not await asyncio.to_thread(path.is_file):
            return await self._site.not_found(request)
        headers = {"cache-control": "public, max-age=60", "x-content-type-options": "nosniff"}
        return FileResponse(path, media_type=TYPES[path.suffix[1:]], headers=headers)


def statistics_routes(services: Services, site: Site) -> list[Route]:
    """Give the URLs of what is switched on."""
    routes: list[Route] = []
    if services.statistics is not None:
        statistics = Statistics(services, site, services.statistics)
        routes += [Route("/statistics", statistics.page), Route("/statistics/{file}", statistics.file)]
    if services.archive is not None:
        archive = PublicArchive(services.archive, site)
        routes += [Route("/archive/", archive.answer), Route("/archive/{name}", archive.answer)]
    return routes


def query_of(shown: Range) -> str:
    """Give the query that asks for a range."""
    return urlencode({"from": str(date.fromordinal(shown.first)), "to": str(date.fromordinal(shown.last))})


def _answer(body: bytes, kind: str) -> Response:
    return Response(body, headers={"content-type": TYPES[kind], "cache-control": f"max-age={FRESH:.0f}"})


def _keep(kept: OrderedDict[Key, Kept], key: Key, value: Kept) -> None:
    """Remember something, and forget the oldest."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
