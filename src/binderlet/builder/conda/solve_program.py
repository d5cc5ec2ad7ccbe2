"""Solves a conda environment and downloads its packages; a program of its own, as ``builder/supervisor.py`` is.

``solve_program.py REQUEST`` reads a JSON file and leaves another, named in it, which appears whole or not at all. It
unpacks nothing. The solver is a library in another language that once crashed while Python ended: here that harms
nobody, and the program leaves without ending Python.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from rattler import (
    BuildString,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    SourceConfig,
    Version,
    solve,
)
from rattler.exceptions import GatewayError, InvalidMatchSpecError, SolverError

DOWNLOADS = 8
"""At the same time."""
TRIES = 3
TIMEOUT = 60.0
"""Seconds without a byte."""
IN_USE = 3600.0
"""Seconds since its last use in which an archive is never removed: a build may be about to link it."""
CHUNK = 1 << 20
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@|/t/[^/\s]+(?=/)")

Json = dict[str, Any]


class Failure(Exception):
    """What the other side is told: ``kind`` is ``spec``, ``unsolvable``, ``channel`` or ``download``."""

    def __init__(self, kind: str, message: str, about: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.about = about


def main(path: str) -> int:
    """Do what the request says; gives the exit code."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        answer = run(request)
    except Failure as failure:
        message = hide(str(failure))
        print(message, flush=True)  # noqa: T201 - the build's log
        answer = {"error": failure.kind, "about": failure.about, "message": message}
    except Exception as error:  # noqa: BLE001 - whatever the library raises, people get a sentence
        message = hide(f"{type(error).__name__}: {error}")
        print(message, flush=True)  # noqa: T201 - the build's log
        answer = {"error": "failed", "about": "", "message": message}
    target = Path(request["output"])
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}")
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.replace(target)
    return 1 if "error" in answer else 0


def run(request: Json) -> Json:
    """Solve and download.

    Raises:
        Failure: it cannot be done.
    """
    attempt, packages = 0, request.get("archives") or []
    if not packages:
        attempt, records = asyncio.run(first_solution(request))
        packages = [describe(record) for record in records]
    folder = Path(request["packages"])
    download(packages, folder)
    prune(folder, request["limit"], {entry["archive"] for entry in packages})
    for entry in packages:
        entry["url"] = hide(entry["url"])
    return {"attempt": attempt, "packages": packages}


async def first_solution(request: Json) -> tuple[int, list[RepoDataRecord]]:
    """Give the first attempt that can be solved, and its packages."""
    attempts = [[parse(spec) for spec in specs] for specs in request["attempts"]]
    for number, specs in enumerate(attempts):
        try:
            return number, await solve_once(request, specs)
        except SolverError as error:
            if number == len(attempts) - 1:
                raise Failure("unsolvable", str(error)) from error
    raise ValueError("a request has an attempt")


def parse(spec: str) -> MatchSpec:
    """Read a spec as conda does, which is not strict."""
    try:
        return MatchSpec(spec)
    except InvalidMatchSpecError as error:
        raise Failure("spec", str(error).partition("\n")[0], spec) from error


async def solve_once(request: Json, specs: Sequence[MatchSpec]) -> list[RepoDataRecord]:
    """Solve one attempt; channels whose servers stumble over partial lists are asked for whole ones."""
    try:
        return await ask(request, specs, sharded=True)
    except GatewayError as error:
        if "unexpected status code" not in str(error):
            raise unreachable(request, error) from error
    try:
        return await ask(request, specs, sharded=False)
    except GatewayError as error:
        raise unreachable(request, error) from error


async def ask(request: Json, specs: Sequence[MatchSpec], *, sharded: bool) -> list[RepoDataRecord]:
    """Ask the channels and solve."""
    day = request.get("exclude_newer", "")
    return await solve(
        [channel["url"] for channel in request["channels"]],
        list(specs),
        gateway=Gateway(cache_dir=Path(request["lists"]), default_config=SourceConfig(sharded_enabled=sharded)),
        platforms=[request["platform"], "noarch"],
        virtual_packages=[
            GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
            for name, version, build in request["virtual_packages"]
        ],
        exclude_newer=datetime.fromisoformat(f"{day}T23:59:59").replace(tzinfo=UTC) if day else None,
    )


def unreachable(request: Json, error: GatewayError) -> Failure:
    """Say which channel it was."""
    words = str(error)
    channel = next((one for one in request["channels"] if hide(one["url"]) in words or one["url"] in words), None)
    if channel is None:
        hosts = {urlsplit(one["url"]).hostname: one for one in request["channels"]}
        channel = next((one for host, one in hosts.items() if host and host in words), request["channels"][0])
    kind = "no channel" if "could not find subdir" in words else "channel"
    return Failure(kind, words.replace("\nCaused by", "; caused by").partition("\n")[0], channel["name"])


def describe(record: RepoDataRecord) -> Json:
    """Write a package down."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "subdir": record.subdir,
        "file": record.file_name,
        "url": record.url,
        "size": record.size or 0,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "md5": record.md5.hex() if record.md5 else "",
    }


def download(packages: Sequence[Json], folder: Path) -> None:
    """Fetch what is not here yet; each entry gets the path of its ``archive``.

    Raises:
        Failure: one cannot be had, or is not what the channel's list says.
    """
    for entry in packages:
        digest = entry["sha256"] or entry["md5"]
        if not re.fullmatch(r"[0-9a-f]{32,64}", digest) or Path(entry["file"]).name != entry["file"]:
            raise Failure("download", f"The channel's list has no hash of {entry['file']}.", hide(entry["url"]))
        entry["archive"] = str(folder / digest / entry["file"])
    missing = [entry for entry in packages if not touch(Path(entry["archive"]))]
    megabytes = sum(entry["size"] for entry in missing) / 1e6
    print(  # noqa: T201 - the build's log
        f"{len(packages)} conda packages; downloading {len(missing)} of them, {megabytes:.1f} MB.", flush=True
    )
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        list(pool.map(fetch, missing))


def touch(path: Path) -> bool:
    """Mark an archive as used now; False where there is none."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def fetch(entry: Json) -> None:
    """Download one archive and check it; it appears whole or not at all."""
    target = Path(entry["archive"])
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{os.getpid()}.part")
    for left in reversed(range(TRIES)):
        try:
            digest = copy(entry, part)
            break
        except (OSError, urllib.error.URLError) as error:
            part.unlink(missing_ok=True)
            code = getattr(error, "code", None)
            if not left or (code is not None and code < 500):  # noqa: PLR2004 - the server's own trouble
                raise Failure("download", f"{hide(entry['url'])}: {error}", hide(entry["url"])) from error
            time.sleep(0.3)
    if digest != (entry["sha256"] or entry["md5"]):
        part.unlink()
        raise Failure("download", f"{hide(entry['url'])} is not the file of the channel's list.", hide(entry["url"]))
    part.replace(target)


def copy(entry: Json, part: Path) -> str:
    """Write what an address gives into a file; gives its digest."""
    parts = urlsplit(entry["url"])
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310 - checked by resolve
    if at:
        request.add_header("Authorization", "Basic " + base64.b64encode(unquote(user).encode()).decode())
    digest = hashlib.sha256() if entry["sha256"] else hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, part.open("wb") as file:  # noqa: S310 - as above
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def prune(folder: Path, limit: int, keep: set[str]) -> None:
    """Remove the archives that were not used for longest, until the others fit into so many bytes."""
    found = sorted(((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*/*")), reverse=True)
    now = time.time()
    total = 0
    for used, size, path in found:
        total += size
        if total > limit and str(path) not in keep and now - used > IN_USE:
            path.unlink(missing_ok=True)


def hide(text: str) -> str:
    """Take passwords and tokens out of addresses."""
    return CREDENTIALS.sub("", text)


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)
