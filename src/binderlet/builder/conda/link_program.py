"""Links conda packages into an environment; runs inside the build's container.

``link_program.py FOLDER PREFIX CACHE``: FOLDER has ``packages.json`` and the archives. The packages' own scripts are
not run. What was in PREFIX before, the base image's Jupyter, is removed: this Python's own modules are elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rattler import RepoDataRecord, install


def link(folder: Path, prefix: Path, cache: Path) -> None:
    """Replace the environment at ``prefix`` by the packages in ``folder``."""
    packages = json.loads((folder / "packages.json").read_text(encoding="utf-8"))
    clear(prefix)
    asyncio.run(put([folder / entry["path"] for entry in packages], prefix, cache))
    for entry in packages:
        name = f"{entry['name']}-{entry['version']}-{entry['build']}.json"
        tell_origin(prefix / "conda-meta" / name, entry["url"])
    lock = "".join(f"{entry['url']}#{entry['md5'] or entry['sha256']}\n" for entry in packages)
    (prefix / "conda-meta" / "explicit.txt").write_text(f"@EXPLICIT\n{lock}", encoding="utf-8")


async def put(archives: Sequence[Path], prefix: Path, cache: Path) -> None:
    """Unpack archives into the cache and link them."""
    records = [await RepoDataRecord.from_package_archive(path) for path in archives]
    await install(
        records,
        prefix,
        cache_dir=cache,
        installed_packages=[],
        execute_link_scripts=False,
        show_progress=False,
    )


def clear(folder: Path) -> None:
    """Empty a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def tell_origin(path: Path, url: str) -> None:
    """Write where a package comes from; for the installer it came from this folder."""
    record = json.loads(path.read_text(encoding="utf-8"))
    record["url"] = url
    record["channel"] = url.rsplit("/", 2)[0]
    record.pop("extracted_package_dir", None)
    path.write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    link(*map(Path, sys.argv[1:4]))
    print("The conda packages are linked.", flush=True)  # noqa: T201 - the build's log
    os._exit(0)  # the library once crashed while Python ended
