"""One look at all members, as a redirector would, for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from binderlet.federation.config import Federation
from binderlet.federation.health import probe
from binderlet.federation.redirector import Redirector


async def look_once(federation: Federation) -> Redirector:
    """Ask every member once, all at the same time."""
    redirector = Redirector(federation)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        patience = federation.check.timeout
        reports = await asyncio.gather(*(probe(client, member, patience) for member in federation.members.values()))
    for name, report in zip(federation.members, reports, strict=True):
        redirector.learn(name, report)
    return redirector


def describe(row: Mapping[str, Any]) -> str:
    """Say how a member stands, in a line."""
    room = (
        f", {row['room']['quota'] - row['room']['total']} of {row['room']['quota']} places free" if row["room"] else ""
    )
    why = f" ({row['reason']})" if row["reason"] else ""
    prime = ", prime" if row["prime"] else ""
    return f"{row['name']}: {row['state']}, weight {row['effective_weight']:g} of {row['weight']:g}{why}{room}{prime}"
