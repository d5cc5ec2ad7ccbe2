"""Locks: which packages an environment has, exactly, and how to ask for the same again (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from binderlet.builder import lock_program
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.render import LOCK as PATH
from binderlet.errors import BadRepository

LABEL = "binderlet.lock"
PROGRAM = Path(lock_program.__file__)
"""What writes a lock, inside the build step."""
FORMAT = 1
LABEL_BYTES = 60_000
"""Longest label: it becomes an argument of the build tool, and those end at 128 kB."""
LOCKED_FILE = "requirements.txt"


def facts(plan: Plan, *, base: str, base_id: str, platform: str, key: str, builder: str) -> dict[str, Any]:
    """Give what is known of an environment before it is built."""
    return {
        "format": FORMAT,
        "builder": builder,
        "platform": platform,
        "base": base,
        "base_id": base_id,
        "environment": key,
        "python": plan.python,
        "exclude_newer": plan.exclude_newer,
        "debian": list(plan.apt),
    }


def label(short: str, known: Mapping[str, Any]) -> str:
    """Give the label's text: the short form of a lock, or what is known without one."""
    if short and len(short.encode()) <= LABEL_BYTES:
        return short
    rest: dict[str, Any] = {"file": PATH} if short else {"python_packages": []}
    return json.dumps({**known, **rest}, separators=(",", ":"))


def shorten(whole: str) -> str:
    """Give the short form of a lock, without hashes."""
    body = json.loads(whole)
    packages = [one.get("url") or f"{one['name']}=={one['version']}" for one in body["python_packages"]]
    return json.dumps(body | {"python_packages": packages}, separators=(",", ":"))


def read(text: str, where: str) -> dict[str, Any]:
    """Read a lock.

    Raises:
        BadRepository: it is none, or of another version of binderlet.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        raise BadRepository(f"{where} is not a lock of binderlet: {error}.", hint=HINT) from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise BadRepository(f"{where} is not a lock of binderlet, or of another version.", hint=HINT)
    return body


HINT = "'binderlet lock URL' prints the lock of a repository that has been built."


def requirements(body: Mapping[str, Any]) -> str:
    """Write a requirement file that installs exactly the packages of a lock."""
    return "".join(_line(one) for one in body["python_packages"] if not _is_local(one))


def _is_local(one: Mapping[str, str] | str) -> bool:
    """Whether a package came from a folder that is gone, as conda's own do that say where they were built."""
    return (one if isinstance(one, str) else one.get("url", "")).startswith("file:")


def _line(one: Mapping[str, str] | str) -> str:
    if isinstance(one, str):  # the short form, from a label
        return f"{one}\n"
    if one.get("url"):
        return f"{one['name']} @ {one['url']}\n"
    pin = f"{one['name']}=={one['version']}"
    return f"{pin} --hash=sha256:{one['hash']}\n" if one.get("hash") else f"{pin}\n"


def chosen_plan(plan: Plan, body: Mapping[str, Any] | None, base_id: str, exclude_newer: str) -> Plan:
    """Give the plan with what the request and the settings choose: a lock's packages, or those of a day.

    Raises:
        BadRepository: see ``locked_plan``.
    """
    if body is not None:
        return locked_plan(plan, body, base_id)
    if not exclude_newer or plan.exclude_newer or plan.kind is not Kind.PYTHON:
        return plan
    reason = f"Packages are those of {exclude_newer}, as this service is set (builder.exclude_newer)."
    return replace(plan, exclude_newer=exclude_newer, reasons=(*plan.reasons, reason))


def locked_plan(plan: Plan, body: Mapping[str, Any], base_id: str) -> Plan:
    """Give the plan that installs a lock's packages, and nothing else, instead of what the files ask for.

    Raises:
        BadRepository: the repository is not built from packages that a lock can hold.
    """
    archives = tuple(body.get("conda", ()))
    if plan.kind is not Kind.PYTHON:
        raise BadRepository("What a Dockerfile or repo2docker builds cannot be built from a lock.")
    if bool(archives) != (plan.conda is not None):
        whose = ("with", "has none") if archives else ("without", "needs them")
        raise BadRepository(f"The lock is of an environment {whose[0]} conda packages; this one {whose[1]}.")
    conda = f"{len(archives)} conda and " if archives else ""
    reasons = [f"The packages are those of the lock: {conda}{len(body['python_packages'])} Python packages."]
    if body["base_id"] != base_id:
        reasons.append("The lock was made on another base image: Debian's packages may differ.")
    if not archives and body["python"] != plan.python:
        raise BadRepository(f"The lock is for Python {body['python']}; this environment has Python {plan.python}.")
    return replace(
        plan,
        apt=tuple(body["debian"]) if body["base_id"] == base_id else plan.apt,
        requirements_file=LOCKED_FILE,
        requirements={LOCKED_FILE: requirements(body)},
        conda=replace(plan.conda, archives=archives) if plan.conda is not None else None,
        python=body["python"],
        is_locked=True,
        exclude_newer="",
        reasons=(*plan.reasons, *reasons),
    )
