"""What a member of a federation needs, judged from what was seen from outside and inside: pure.

``join_probes.py`` does the looking. Every finding says what was seen and how to mend it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from binderlet.federation.report import Report
from binderlet.finding import Finding

SOON = 14.0
"""Days before a certificate ends from which on it is worth a word."""
SLOW = 2.0
"""Seconds; redirectors give up after five."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the member's public address answered."""

    url: str
    error: str = ""
    """Why it was not reached at all."""
    certificate_days: float | None = None
    """Until the certificate ends; None without TLS."""
    report: Report = field(default_factory=Report)
    seconds: float = 0.0
    """How long health and versions took."""
    has_quota: bool = False
    """Whether /health has the check ``Pod quota`` with a limit."""
    build_origin: str = ""
    """Access-Control-Allow-Origin of an answer of /build, an error's too."""
    build_answer: str = ""
    """What /build said to a launch that cannot be; empty where it was no event."""
    archive: str = ""
    """Why the archive cannot be read; empty where it can."""
    archive_age_days: float | None = None
    """Days since the last event that is published; None where it was not looked at."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What this machine's own settings say; absent when another machine's member is looked at."""

    public_url: str
    launch_host: str
    archive: bool
    """Whether launch events are written."""
    archive_origin: str
    """The name under which this member's launches are counted."""
    mirrors_versions: bool
    sponsor: str
    secret_is_set: bool
    """Whether the build-token secret is written in the settings, not made by this service for itself."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it."""

    name: str
    federation: str
    """The federation's address, without slash."""
    outside: Outside
    inside: Inside | None = None
    expected: Mapping[str, Any] | None = None
    """The federation's /versions; None where they were not answered."""
    token: str | None = None
    """Why the federation's build token is not accepted here; "" where it is; None where that could not be tried."""


def evaluate(seen: Seen) -> list[Finding]:
    """Judge what was seen, in the order in which a launch would meet it."""
    if seen.outside.error:
        mend = "Is the service running, does DNS lead here, do the ports 80 and 443 come through the firewall?"
        return [Finding("address", "fail", f"{seen.outside.url} does not answer: {seen.outside.error}", mend)]
    return [
        _tls(seen.outside),
        *_health(seen.outside),
        _versions(seen),
        _cors(seen.outside),
        _token(seen),
        *_launch_host(seen),
        _archive(seen),
        *_thanks(seen.inside),
    ]


def _tls(outside: Outside) -> Finding:
    days = outside.certificate_days
    if days is None:
        mend = "Browsers do not follow a link from https to http: set up a certificate."
        return Finding("TLS", "fail", f"{outside.url} is not https", mend)
    if days < SOON:
        return Finding("TLS", "warn", f"the certificate ends in {days:.0f} days", "See that it is renewed by itself.")
    return Finding("TLS", "ok", f"the certificate is good for {days:.0f} days")


def _health(outside: Outside) -> Iterator[Finding]:
    report = outside.report
    if report.draining:
        yield Finding("/health", "warn", "it is drained", "binderlet federation drain --off")
    elif report.trouble and not report.trouble.startswith("/versions"):
        yield Finding("/health", "fail", report.trouble, "'binderlet status' and 'binderlet doctor' say more.")
    elif outside.seconds > SLOW:
        seen = f"it took {outside.seconds:.1f} s"
        yield Finding("/health", "warn", seen, "Redirectors give up after five seconds: is this machine overloaded?")
    else:
        yield Finding(
            "/health", "ok", f"all of {len(report.checks)} checks are well, in {outside.seconds * 1000:.0f} ms"
        )
    if outside.has_quota and report.room:
        yield Finding("quota", "ok", f"{report.room.free} of {report.room.quota} places are free")
    else:
        mend = "Set limits.sessions, so that redirectors know when this machine is full."
        yield Finding("quota", "fail", "/health has no 'Pod quota' with a limit", mend)


def _versions(seen: Seen) -> Finding:
    ours, theirs = seen.outside.report.versions, seen.expected
    mend = "Set federation.url and federation.mirror_versions = true, or ask for a rule that allows other versions."
    if ours is None:
        return Finding("/versions", "fail", "it does not answer", "'binderlet status' says more.")
    if theirs is None:
        return Finding("/versions", "warn", f"{seen.federation}/versions does not answer: there is nothing to compare")
    if ours == theirs:
        return Finding("/versions", "ok", "equal to the federation's")
    other = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    return Finding("/versions", "fail", f"other than the federation's: {', '.join(other)}", mend)


def _cors(outside: Outside) -> Finding:
    mend = "Set server.cors_allow_origin = '*': browsers come from the federation's own address."
    if outside.build_origin != "*":
        return Finding("CORS", "fail", f"/build allows {outside.build_origin or 'no other site'}, not *", mend)
    if not outside.build_answer:
        return Finding(
            "CORS", "fail", "/build does not answer with an event", "Does something in front change /build/?"
        )
    return Finding("CORS", "ok", "scripts of every site may launch, and read errors")


def _token(seen: Seen) -> Finding:
    mend = "Set security.build_token_secret to the federation's; its operators hand it out."
    if seen.token == "":
        return Finding("build token", "ok", "the federation's launch pages are believed here")
    if seen.token:
        return Finding("build token", "fail", f"a token of the federation's own page is refused: {seen.token}", mend)
    if seen.inside is not None and not seen.inside.secret_is_set:
        return Finding("build token", "fail", "this service has a secret of its own", mend)
    return Finding("build token", "warn", "no launch page of the federation had a token to try", mend)


def _launch_host(seen: Seen) -> Iterator[Finding]:
    inside = seen.inside
    if inside is None:
        yield Finding("settings", "warn", "another machine's settings cannot be seen", "Run this on the member itself.")
        return
    if inside.launch_host.rstrip("/") == seen.federation:
        yield Finding("launch host", "ok", f"links and badges lead to {seen.federation}")
    else:
        mend = f'Set federation.url = "{seen.federation}/".'
        yield Finding("launch host", "fail", f"links and badges lead to {inside.launch_host or 'this member'}", mend)
    if inside.public_url.rstrip("/") != seen.outside.url:
        mend = f'Set server.public_url = "{seen.outside.url}/": sessions are reached by it.'
        yield Finding("public_url", "fail", f"it is {inside.public_url or 'empty'}", mend)


def _archive(seen: Seen) -> Finding:
    host = urlsplit(seen.outside.url).hostname or ""
    if seen.inside is not None and not seen.inside.archive:
        return Finding("archive", "fail", "launch events are not written", "Set events.archive = true.")
    if seen.inside is not None and seen.inside.archive_origin != host:
        named = seen.inside.archive_origin or "the name that visitors asked for, the federation's"
        mend = f'Set archive.origin = "{host}", so that your launches are counted as yours.'
        return Finding("archive", "fail", f"launches are counted for {named}", mend)
    outside = seen.outside
    if outside.archive:
        return Finding("archive", "warn", outside.archive, "Publish the archive, so that the federation counts you.")
    if outside.archive_age_days is None:
        return Finding("archive", "warn", "not looked at", "Give --archive URL to have it looked at.")
    if outside.archive_age_days > 2:  # noqa: PLR2004 - yesterday's file is there by tomorrow
        seen_age = f"the last published day is {outside.archive_age_days:.0f} days old"
        return Finding("archive", "warn", seen_age, "See why nothing is published.")
    return Finding("archive", "ok", "the published archive is fresh")


def _thanks(inside: Inside | None) -> Iterator[Finding]:
    if inside is not None and not inside.sponsor:
        yield Finding(
            "sponsor", "warn", "no host is named", "Set sponsor.name, sponsor.url and sponsor.logo: hosts are thanked."
        )


def entry(seen: Seen, weight: float, *, as_json: bool) -> str:
    """Give what the federation's file needs for this member."""
    url = seen.outside.url
    if as_json:
        host = {"prime": False, "url": url, "weight": weight, "health": f"{url}/health", "versions": f"{url}/versions"}
        return json.dumps({seen.name: host}, indent=2)
    return f'[members."{seen.name}"]\nurl = "{url}"\nweight = {weight:g}'


def default_name(url: str) -> str:
    """Name a member by its host."""
    return (urlsplit(url).hostname or "member").partition(".")[0]
