"""What ``federation join`` looks at on this machine, and how it says what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from binderlet.federation.config import public
from binderlet.federation.join import Inside, Seen, default_name, entry
from binderlet.federation.join_probes import Verify, look_at_federation, look_outside
from binderlet.finding import Finding

if TYPE_CHECKING:
    from binderlet.config.schema import Settings

MARKS = {"ok": (" ok ", "green"), "warn": ("WARN", "yellow"), "fail": ("FAIL", "red")}


async def gather(federation: str, url: str, name: str, archive: str, settings: Settings | None) -> Seen:
    """Look from outside, and where there are settings from inside."""
    fed = public(federation)
    member = public(url or (settings.server.public_url if settings else "")) or f"http://127.0.0.1:{_port(settings)}"
    verify = await asyncio.to_thread(verifier, settings) if settings else None
    outside, (expected, token) = await asyncio.gather(
        look_outside(member, fed, archive or f"{member}/archive"), look_at_federation(fed, verify)
    )
    return Seen(name or default_name(member), fed, outside, inside_of(settings), expected, token)


def _port(settings: Settings | None) -> int:
    return settings.server.port if settings else 80


def inside_of(settings: Settings | None) -> Inside | None:
    """Give what the settings say."""
    if settings is None:
        return None
    return Inside(
        public_url=settings.server.public_url,
        launch_host=settings.launch_host,
        archive=settings.events.archive,
        archive_origin=settings.archive.origin,
        mirrors_versions=settings.federation.mirror_versions,
        sponsor=settings.sponsor.name,
        secret_is_set=bool(settings.security.build_token_secret.get_secret_value()),
    )


def verifier(settings: Settings) -> Verify | None:
    """Give what checks a token with this service's secret; None where it has none yet."""
    import time

    from binderlet.api.tokens import BuildTokens
    from binderlet.errors import TokenInvalid

    kept = settings.paths.state / "build-token-secret"
    secret = settings.security.build_token_secret.get_secret_value() or _read(kept)
    if not secret:
        return None
    tokens = BuildTokens(secret)

    def verify(token: str, provider: str, spec: str, origin: str) -> str:
        """Try it."""
        try:
            tokens.check(token, provider, spec, origin, time.time())
        except TokenInvalid as error:
            return error.message
        return ""

    return verify


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""  # the service has not run yet, or runs as another user


def print_findings(findings: Sequence[Finding], seen: Seen, weight: float) -> None:
    """Print what was seen, what to do, and the entry."""
    for finding in findings:
        mark, colour = MARKS[finding.level]
        typer.secho(mark, fg=colour, nl=False)
        typer.echo(f" {finding.check}: {finding.seen}")
        if finding.mend:
            typer.echo(f"       mend: {finding.mend}")
    failed = sum(finding.level == "fail" for finding in findings)
    typer.echo(f"\n{failed} to mend before it can join." if failed else "\nReady to join.")
    typer.echo("\nFor the federation's TOML file:\n" + entry(seen, weight, as_json=False))
    typer.echo("\nFor mybinder.org's config.json:\n" + entry(seen, weight, as_json=True))
