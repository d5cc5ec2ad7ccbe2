"""A real conda channel, made by hand, indexed by the library that reads it, and served on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PLACEHOLDER = "/opt/placeholder"
"""Where packages believe that they are; installing writes the real place over it."""
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
INDEX = """
import asyncio, os, sys
from rattler.index import index_fs
asyncio.run(index_fs(sys.argv[1]))
os._exit(0)
"""
"""A program of its own, as the library once crashed while Python ended."""
LINUX = f"linux-{ {'x86_64': '64'}.get(os.uname().machine, os.uname().machine) }"


def add_package(
    channel: Path,
    name: str,
    version: str,
    *,
    build: str = "0",
    depends: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    entry_points: Sequence[str] = (),
    noarch: bool = True,
    form: str = "tar.bz2",
) -> Path:
    """Write a package; ``noarch`` ones have Python modules in ``site-packages/``."""
    subdir = "noarch" if noarch else LINUX
    index: dict[str, object] = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": int(build[-1]),
        "depends": list(depends),
        "subdir": subdir,
        "timestamp": 1_700_000_000_000,
        **({"noarch": "python"} if noarch else {}),
    }
    info: dict[str, bytes] = {"info/index.json": json.dumps(index).encode()}
    if noarch:
        link = {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
        info["info/link.json"] = json.dumps(link).encode()
    content = {path: text.encode() for path, text in (files or {}).items()}
    info["info/paths.json"] = json.dumps({"paths": _paths(content, links or {}), "paths_version": 1}).encode()
    target = channel / subdir / f"{name}-{version}-{build}.{form}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if form == "conda":
        _write_conda(target, info, content, links or {})
    else:
        with tarfile.open(target, "w:bz2") as archive:
            _fill(archive, info | content, links or {})
    return target


def _paths(content: Mapping[str, bytes], links: Mapping[str, str]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path, text in content.items():
        entry: dict[str, object] = {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(text).hexdigest(),
            "size_in_bytes": len(text),
        }
        if PLACEHOLDER.encode() in text:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
        found.append(entry)
    return found + [{"_path": path, "path_type": "softlink"} for path in links]


def _fill(archive: tarfile.TarFile, content: Mapping[str, bytes], links: Mapping[str, str]) -> None:
    for path, text in content.items():
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(text), 0o755 if path.startswith("bin/") else 0o644
        archive.addfile(entry, io.BytesIO(text))
    for path, to in links.items():
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname = tarfile.SYMTYPE, to
        archive.addfile(entry)


def _write_conda(
    target: Path, info: Mapping[str, bytes], content: Mapping[str, bytes], links: Mapping[str, str]
) -> None:
    stem = target.name.removesuffix(".conda")
    with zipfile.ZipFile(target, "w") as whole:
        whole.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        for part, files, symbolic in (("pkg", content, links), ("info", info, {})):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                _fill(archive, files, symbolic)
            whole.writestr(f"{part}-{stem}.tar.zst", _zstandard(buffer.getvalue()))


def _zstandard(data: bytes) -> bytes:
    """Write a Zstandard frame of blocks as they are: valid, and needs no compressor."""
    frame = struct.pack("<IBQ", 0xFD2FB528, 0b11100000, len(data))
    size = 100_000
    for start in range(0, max(len(data), 1), size):
        block = data[start : start + size]
        is_last = start + size >= len(data)
        frame += struct.pack("<I", len(block) << 3 | is_last)[:3] + block
    return frame


def python_package(folder: Path, version: str = f"{PYTHON}.7", *, form: str = "conda") -> Path:
    """Write a Python that is this machine's, at the same place in an image."""
    interpreter = Path(sys.executable).resolve()
    files = {"pyvenv.cfg": f"home = {interpreter.parent}\nversion = {sys.version.split()[0]}\n"}
    links = {f"bin/python{PYTHON}": str(interpreter), "bin/python": f"python{PYTHON}"}
    return add_package(folder, "python", version, files=files, links=links, noarch=False, form=form)


def make_channel(folder: Path) -> None:
    """Write a small world: a Python that is this machine's, Jupyter in name, and a toy in several versions."""
    python_package(folder)
    python_package(folder, "3.99.0", form="tar.bz2")
    for name in ("jupyterlab", "notebook", "ipykernel", "pip"):
        python_range = "python" if name == "pip" else "python <3.99"
        add_package(folder, name, "4.1", depends=[python_range], files={f"site-packages/{name}.py": ""})
    for version, build in (("1.0", "py_0"), ("1.0", "py_1"), ("2.0", "py_0")):
        module = f"VERSION = {version!r}\nBUILD = {build!r}\ndef main():\n    print('toy', VERSION, BUILD)\n"
        files = {"site-packages/toy.py": module, "share/toy.txt": f"{PLACEHOLDER}/share/toy.txt\n"}
        add_package(
            folder,
            "toy",
            version,
            build=build,
            depends=[f"python >=3.8,<{'3.99' if version == '1.0' else '4'}"],
            files=files,
            entry_points=["toy-run = toy:main"],
            form="conda" if build == "py_1" else "tar.bz2",
        )
    activate = {"etc/conda/activate.d/gear.sh": "export GEAR_HOME=$CONDA_PREFIX/gear\n", "bin/gear": "#!/bin/sh\n"}
    add_package(folder, "gear", "1.0", files=activate, noarch=False)
    add_package(folder, "shy", "1.0", depends=["python >=3.99"], files={"share/shy": ""}, noarch=False)
    add_package(folder, "picky", "1.0", depends=["toy <2", "gear >=5"])


class Served:
    """A folder with channels, and what was asked of it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.requests: list[str] = []
        self.authorization: list[str] = []


@contextmanager
def serve_channels(folder: Path, *names: str) -> Iterator[Served]:
    """Make the channels ``names`` below ``folder`` and serve them on loopback."""
    for name in names:
        make_channel(folder / name)
    with serve_made(folder, *names) as served:
        yield served


@contextmanager
def serve_made(folder: Path, *names: str) -> Iterator[Served]:
    """Write the lists of channels whose packages are there already, and serve them on loopback."""
    for name in names:
        subprocess.run([sys.executable, "-c", INDEX, str(folder / name)], check=True)
    served = Served(folder, "")

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - the library's
            served.requests.append(self.path)
            served.authorization.append(self.headers.get("Authorization", ""))

        def log_error(self, *args: object) -> None:
            """Stay silent: not all channels have all forms of their lists."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
