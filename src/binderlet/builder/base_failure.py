"""Says why a base image could not be made, from the end of what its programs printed (pure)."""

from __future__ import annotations

import re

from binderlet.builder import diagnose
from binderlet.builder.job import Outcome
from binderlet.errors import BuildFailed, RegistryUnreachable

NO_ARCHIVE = re.compile(
    r"(?i)does not have a release file|failed to fetch|\b50[234] +(?:bad gateway|service|gateway)"
    # It is pinned to a version that exists: pip says this after it could not ask, too.
    r"|no matching distribution found for uv\b"
)
COMPLAINT = re.compile(r"^(?:E:|ERROR:|error:|\w+(?:Error|Exception):|\s*[×╰]|cp: |tar: )")  # noqa: RUF001 - what uv prints


def failure(what: str, outcome: Outcome, setting: str, *, default: str) -> BuildFailed:
    """Turn a failed step's words into an error: unreachable (the host, else ``default``) or failed."""
    lines = [line for line in outcome.tail.splitlines() if line.strip()]
    for line in lines:
        if any(pattern.search(line) for pattern in (diagnose.CERTIFICATE, diagnose.NO_NETWORK, NO_ARCHIVE)):
            return RegistryUnreachable(
                f"{what}: {_host(line) or default} cannot be reached from here. It was said: {line.strip()}",
                hint=f"Set {setting} to one that can, or network.https_proxy and network.ca_bundle.",
            )
    complaints = [line for line in lines if COMPLAINT.search(line)] or lines or ["it printed nothing"]
    return BuildFailed(f"{what}: {complaints[-1].strip()} (exit code {outcome.code})")


def no_python(python: str, tail: str) -> RegistryUnreachable:
    """Make the error of a Python that uv did not get, with the words of the innermost cause."""
    lines = [line.strip() for line in tail.splitlines()]
    causes = [line for line in lines if line.startswith(("Caused by:", "error:", "cause:"))] or [f"Python {python}"]
    hosts = [host for line in lines if (host := _host(line))]
    where = f" from {hosts[-1]}" if hosts else ""
    return RegistryUnreachable(
        f"Python {python} cannot be had{where}. It was said: {causes[-1].partition(': ')[2] or causes[-1]}",
        hint="Set builder.python_mirror to an address that has it, or network.https_proxy and network.ca_bundle.",
    )


def _host(line: str) -> str:
    for pattern in (diagnose.NAMED_HOST, diagnose.URL_HOST):
        if found := pattern.search(line):
            return found[1]
    return ""
