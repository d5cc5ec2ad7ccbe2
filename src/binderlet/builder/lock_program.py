"""Writes down which packages an environment has: runs inside the build step that installed them.

``python -I -S lock_program.py FACTS TARGET [CACHE RESOLVED]``: ``FACTS`` is a JSON object that is kept as it is; the
lock is put into ``TARGET``, with the hashes that the file ``RESOLVED`` has, which need not be there, or uv's cache. A
line with the short form goes to the standard output, where the build's supervisor takes it out. The standard library
alone: this is the environment's own Python, without ``site``, because packages may have put code there that runs at
each start, and here the cache that all builds share is writable.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

MARK = "binderlet-lock: "
PREFIX = Path(sys.executable).parent.parent
"""The environment; without ``site``, Python itself does not know it."""
SITE = PREFIX / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
BASE_LOCK = Path("/usr/local/share/binderlet/requirements.txt")
NAME = re.compile(r"[-_.]+")
WHEEL = re.compile(r"-([^-]+)-([^-]+)-([^-]+)\.whl")
PACKAGE = re.compile(r"(?ms)^name = \"([^\"]+)\"\nversion = \"([^\"]+)\"(.*?)(?=^\[\[|\Z)")
FILE = re.compile(r"url = \"([^\"]+)\".*?sha256 = \"([0-9a-f]{64})\"")


def packages(site: Path) -> dict[str, dict[str, Any]]:
    """Give all packages by normalised name, by the names of their folders: reading each one's metadata takes long."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(site.glob("*-info")):
        name, _, version = path.stem.partition("-")
        name = NAME.sub("-", name).lower()
        entry = {"name": name, "version": version.partition("-")[0]}
        direct = path / "direct_url.json"
        if direct.exists():
            entry["url"] = direct_url(json.loads(direct.read_text(encoding="utf-8")))
        found.setdefault(name, entry | {"info": path})
    return found


def direct_url(body: dict[str, Any]) -> str:
    """Give what pip would be asked for: an archive's or a repository's address, with the commit."""
    vcs = body.get("vcs_info")
    prefix, suffix = (f"{vcs['vcs']}+", f"@{vcs['commit_id']}") if vcs else ("", "")
    folder = f"#subdirectory={body['subdirectory']}" if body.get("subdirectory") else ""
    return f"{prefix}{body['url']}{suffix}{folder}"


def tags(info: Path) -> set[str]:
    """Give the tags of the wheel that was installed."""
    try:
        return set(re.findall(r"(?m)^Tag: (\S+)", (info / "WHEEL").read_text(encoding="utf-8")))
    except OSError:  # it was no wheel
        return set()


def add_hashes(found: dict[str, dict[str, Any]], cache: str, resolved: str = "") -> None:
    """Add the hash of each wheel: the base image's lock has some, the rest is known to who resolved, or to uv's cache.

    ``resolved`` is a path.
    """
    text = BASE_LOCK.read_text(encoding="utf-8") if BASE_LOCK.exists() else ""
    base = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", text))
    wanted = {name: one for name, one in found.items() if "url" not in one and base.get(name) != one["version"]}
    for package in resolved_packages(resolved):
        one = wanted.get(package["name"], {})
        if one.get("version") == package["version"]:
            add_hash(one, [(wheel["url"], wheel["sha256"]) for wheel in package["wheels"]])
    wanted = {name: one for name, one in wanted.items() if not one.get("hash")}
    if wanted and cache:
        add_hashes_of_cache(wanted, cache)


def resolved_packages(path: str) -> list[dict[str, Any]]:
    """Give the packages that were resolved beforehand; none where the file is not there."""
    if not path or not Path(path).exists():
        return []
    packages: list[dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))["packages"]
    return packages


def add_hashes_of_cache(wanted: dict[str, dict[str, Any]], cache: str) -> None:
    """Add what uv's cache knows."""
    command = ["uv", "pip", "compile", "--quiet", "--offline", "--no-deps", "--cache-dir", cache]
    command += ["--format", "pylock.toml", "--python", sys.executable, "-"]
    lines = "".join(f"{name}=={one['version']}\n" for name, one in wanted.items())
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    for name, version, rest in PACKAGE.findall(done.stdout):
        if name in wanted and wanted[name]["version"] == version:
            add_hash(wanted[name], FILE.findall(rest))


def add_hash(one: dict[str, Any], files: list[tuple[str, str]]) -> None:
    """Add the hash of the wheel that was installed, out of all addresses of that version and their hashes."""
    installed = tags(one["info"])
    one["hash"] = next((sha for url, sha in files if fits(url, installed)), "")


def fits(url: str, installed: set[str]) -> bool:
    """Whether a wheel's file name has one of the installed wheel's tags."""
    found = WHEEL.search(url)
    if found is None:
        return False
    return any(
        f"{python}-{abi}-{platform}" in installed
        for python in found[1].split(".")
        for abi in found[2].split(".")
        for platform in found[3].split(".")
    )


def conda_packages(prefix: Path) -> list[str]:
    """Give the archives of conda's packages, with their hashes."""
    bodies = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(prefix.glob("conda-meta/*.json"))]
    return [f"{body.get('url', body.get('name', ''))}#{body.get('sha256', '')}".rstrip("#") for body in bodies]


def debian_packages(names: list[str]) -> list[str]:
    """Give the versions of those Debian packages that the repository asked for."""
    if not names:
        return []
    plain = [re.split("[=/]", name)[0] for name in names]
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package}=${Version}\\n", *plain],
        capture_output=True,
        text=True,
        check=False,
    )
    return sorted(done.stdout.split())


def main(arguments: list[str]) -> int:
    """Write the lock; gives 0."""
    facts, target, *places = arguments
    body = json.loads(facts)
    body["debian"] = debian_packages(body["debian"])
    found = packages(SITE)
    try:
        add_hashes(found, *(places or [""]))
    except OSError as error:  # there is no uv: a lock without hashes is a lock
        body["note"] = f"Without hashes: {error}"
    body["conda"] = conda_packages(PREFIX)
    kept = sorted(found.items())
    body["python_packages"] = [
        {field: value for field, value in one.items() if field != "info" and value} for _, one in kept
    ]
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    short = body | {"python_packages": [one.get("url") or f"{name}=={one['version']}" for name, one in kept]}
    sys.stdout.write(MARK + json.dumps(short, separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":  # pragma: no cover - tests run it as a program
    sys.exit(main(sys.argv[1:]))
