"""Looks at a member as the internet sees it, and at what its federation expects."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from binderlet.federation import report
from binderlet.federation.config import Member
from binderlet.federation.health import BODY_LIMIT, get, probe
from binderlet.federation.join import Outside

TIMEOUT = 10.0
NO_LAUNCH = "/build/no-such-provider/x"
"""A launch that every member refuses, with an answer that scripts of other sites must be able to read."""
TRIED = ("gh", "binder-examples/requirements/HEAD")
TOKEN = re.compile(r'"buildToken"\s*:\s*"([^"]+)"')
DAY = 86400.0
Verify = Callable[[str, str, str, str], str]
"""Takes token, provider, spec and origin; gives why it is not accepted, or nothing."""


async def look_outside(url: str, federation: str, archive: str = "", *, ca: ssl.SSLContext | None = None) -> Outside:
    """Look at the member at ``url``, without last slash; whatever goes wrong is in what it gives."""
    connector = aiohttp.TCPConnector(ssl=ca) if ca is not None else None
    async with aiohttp.ClientSession(connector=connector) as client:
        try:
            seen = replace(await _front(client, url), certificate_days=await certificate_days(url, ca))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Outside(url, error=str(error) or type(error).__name__)
        origin, said = await _build(client, url, federation)
        seen = replace(seen, build_origin=origin, build_answer=said)
        return await _archive(client, seen, archive) if archive else seen


async def _front(client: aiohttp.ClientSession, url: str) -> Outside:
    async with asyncio.timeout(TIMEOUT), client.get(f"{url}/health", allow_redirects=False) as response:
        body = await response.read()
    began = time.monotonic()
    found = await probe(client, Member(url=url), TIMEOUT)
    return Outside(url, report=found, seconds=time.monotonic() - began, has_quota=has_quota(body))


def has_quota(body: bytes) -> bool:
    """Tell whether a health has a ``Pod quota`` with a limit."""
    room = report.read(report.Answer(report.GOOD, body), None).room
    return room is not None


async def _build(client: aiohttp.ClientSession, url: str, federation: str) -> tuple[str, str]:
    headers = {"Accept": "text/event-stream", "Origin": federation}
    try:
        async with asyncio.timeout(TIMEOUT), client.get(url + NO_LAUNCH, headers=headers) as response:
            origin = response.headers.get("Access-Control-Allow-Origin", "")
            async for line in response.content:
                if line.startswith(b"data:"):
                    return origin, line[5:].decode("utf-8", "replace").strip()
            return origin, ""
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return "", ""


async def certificate_days(url: str, ca: ssl.SSLContext | None = None) -> float | None:
    """Give the days until the certificate ends; None without TLS.

    Raises:
        OSError: there is none that browsers would take.
    """
    if not url.startswith("https://"):
        return None
    host, _, port = url.removeprefix("https://").partition("/")[0].partition(":")
    context = ca or await asyncio.to_thread(ssl.create_default_context)
    _, writer = await asyncio.open_connection(host, int(port or 443), ssl=context, server_hostname=host)
    try:
        ends = str(writer.get_extra_info("peercert")["notAfter"])
    finally:
        writer.close()
    return (ssl.cert_time_to_seconds(ends) - time.time()) / DAY


async def _archive(client: aiohttp.ClientSession, seen: Outside, archive: str) -> Outside:
    answer = await get(client, archive.rstrip("/") + "/index.jsonl", 64 * BODY_LIMIT)
    if isinstance(answer, str) or answer.status != report.GOOD:
        why = answer if isinstance(answer, str) else f"it answered {answer.status}"
        return replace(seen, archive=f"{archive} has no index.jsonl: {why}")
    days = newest(answer.body)
    if days is None:
        return replace(seen, archive=f"{archive}/index.jsonl names no day")
    return replace(seen, archive_age_days=days)


def newest(index: bytes) -> float | None:
    """Give how many days ago the last day of an archive's index began; None where it has none."""
    dates = []
    for line in index.splitlines():
        try:
            dates.append(datetime.fromisoformat(str(json.loads(line)["date"])).replace(tzinfo=UTC))
        except (ValueError, KeyError, TypeError):
            continue
    return (datetime.now(UTC) - max(dates)).total_seconds() / DAY if dates else None


async def look_at_federation(
    federation: str, verify: Verify | None, *, ca: ssl.SSLContext | None = None
) -> tuple[Mapping[str, Any] | None, str | None]:
    """Give the federation's versions, and why a token of its own launch page is not accepted here.

    "" where it is accepted; None where no token was found to try.
    """
    connector = aiohttp.TCPConnector(ssl=ca) if ca is not None else None
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as client:
        versions = await get_quietly(client, f"{federation}/versions")
        page = await get_quietly(client, f"{federation}/v2/{TRIED[0]}/{TRIED[1]}")
    expected = report.read(report.Answer(report.GOOD, b"{}"), versions).versions if versions else None
    found = TOKEN.search(page.body.decode("utf-8", "replace")) if page else None
    if found is None or verify is None:
        return expected, None
    return expected, verify(found[1], *TRIED, federation.partition("://")[2])


async def get_quietly(client: aiohttp.ClientSession, url: str) -> report.Answer | None:
    """Give an answer, or None."""
    answer = await get(client, url, BODY_LIMIT)
    return None if isinstance(answer, str) else answer
