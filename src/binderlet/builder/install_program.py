"""Installs what was resolved beforehand: runs inside a build step, and runs no code of any package.

``python -I -S install_program.py RESOLVED CACHE APART`` installs; ``RESOLVED`` is ``Resolution.instructions``. Wheels
that are in the cache, which other builds share, are copied from there. New ones would be written twice, into the cache
and out of it; where they are many, they are unpacked in the folder ``APART`` instead, on the environment's own disk,
and are linked from it. ``APART`` is for who called to remove.

``python -I -S install_program.py RESOLVED CACHE`` brings what is missing into the cache and installs nothing; it is run
later, while nobody waits.

The standard library alone, of whatever Python the environment has; exit code 1 says to do without.
"""

# Importing pathlib or subprocess would double the time that this program takes to start.
# ruff: noqa: PTH103, PTH112, PTH118, PTH119, PTH123, PTH207, PTH211

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

PREFIX = os.path.dirname(os.path.dirname(sys.executable))  # noqa: PTH120 - as above
"""The environment; without ``site``, Python itself does not know it."""
SITE = os.path.join(PREFIX, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
APART_FROM = 20_000_000
"""Bytes of new wheels from which on writing them once is worth two runs of uv."""
NEW = "Packages that are new here:"
"""Begins the line that says that wheels are not in the cache yet."""
AGAIN = "What was resolved beforehand cannot be installed; resolving again."


def is_installed(package: dict[str, Any], site: str) -> bool:
    """Whether that version is in the environment already."""
    name = package["name"].replace("-", "_")
    return os.path.isdir(os.path.join(site, f"{name}-{package['version']}.dist-info"))


def is_cached(package: dict[str, Any], cache: str) -> bool:
    """Whether a wheel of that version is in uv's cache, unpacked."""
    below = glob.escape(os.path.join(package["name"], package["version"]))
    places = (f"{cache}/wheels-v*/pypi/{below}-*", f"{cache}/wheels-v*/index/*/{below}-*")
    return any(os.path.isdir(path) for place in places for path in glob.glob(place))


def pylock(index: str, packages: Sequence[dict[str, Any]]) -> str:
    """Write what uv installs; a string of JSON is one of TOML."""
    lines = ['lock-version = "1.0"', 'created-by = "binderlet"']
    for package in packages:
        lines.append("[[packages]]")
        lines += [f"{name} = {json.dumps(package[name])}" for name in ("name", "version")]
        wheels = [
            f"{{ url = {json.dumps(wheel['url'])}, hashes = {{ sha256 = {json.dumps(wheel['sha256'])} }} }}"
            for wheel in package["wheels"]
        ]
        lines += [f"index = {json.dumps(index)}", f"wheels = [{', '.join(wheels)}]"]
    return "\n".join(lines) + "\n"


def uv(index: str, packages: Sequence[dict[str, Any]], cache: str, link_mode: str, *options: str) -> bool:
    """Have uv install packages; gives whether it could."""
    if not packages:
        return True
    path = f"/tmp/pylock.{os.getpid()}.toml"  # noqa: S108 - a step's own, in its container
    with open(path, "w", encoding="utf-8") as file:
        file.write(pylock(index, packages))
    command = ["uv", "pip", "install", "--python", sys.executable, "--link-mode", link_mode, "--cache-dir", cache]
    command += ["--no-build", "--preview-features", "pylock", *options, "-r", path]
    sys.stdout.flush()
    try:
        return os.spawnvp(os.P_WAIT, command[0], command) == 0  # noqa: S606 - no shell is needed
    finally:
        os.unlink(path)  # noqa: PTH108 - as above


def install(resolved: dict[str, Any], cache: str, apart: str, site: str = SITE) -> bool:
    """Install everything; gives whether that was possible."""
    index = resolved["index"]
    packages = [each for each in resolved["packages"] if not is_installed(each, site)]
    new = [each for each in packages if not is_cached(each, cache)]
    if sum(each["size"] for each in new) < APART_FROM:
        return uv(index, packages, cache, "copy")
    sys.stdout.write(f"{NEW} {', '.join(each['name'] for each in new)}.\n")
    share_interpreters(cache, apart)
    old = [each for each in packages if each not in new]
    return uv(index, new, apart, "hardlink") and uv(index, old, cache, "copy")


def share_interpreters(cache: str, apart: str) -> None:
    """Let uv find what it knows about this Python, which it would ask for again."""
    os.makedirs(apart)
    for path in glob.glob(f"{cache}/interpreter-v*"):
        os.symlink(path, os.path.join(apart, os.path.basename(path)))


def fetch(resolved: dict[str, Any], cache: str, site: str = SITE) -> bool:
    """Bring into the cache what is missing there; gives whether that was possible."""
    new = [each for each in resolved["packages"] if not is_installed(each, site) and not is_cached(each, cache)]
    target = f"/tmp/fetched.{os.getpid()}"  # noqa: S108 - as above
    return uv(resolved["index"], new, cache, "symlink", "--target", target)


def main(arguments: list[str]) -> int:
    """Install or fetch; gives the exit code."""
    path, cache, *apart = arguments
    with open(path, encoding="utf-8") as file:
        resolved = json.load(file)
    if not apart:
        return 0 if fetch(resolved, cache) else 1
    if install(resolved, cache, *apart):
        return 0
    sys.stdout.write(f"{AGAIN}\n")
    return 1


if __name__ == "__main__":  # pragma: no cover - tests run it as a program
    sys.exit(main(sys.argv[1:]))
