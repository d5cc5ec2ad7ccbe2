"""Wheels without content, and an index of them, for installers to take seriously."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str = "1.0", *, module: str = "") -> Path:
    """Write a wheel of one module, which says its version."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    files = {
        f"{module or stem}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    path = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def write_index(folder: Path, wheels: Iterable[Path]) -> None:
    """Write a simple index below ``folder/simple`` of wheels that lie below ``folder``."""
    for wheel in wheels:
        page = folder / "simple" / wheel.name.partition("-")[0].replace("_", "-").lower() / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        link = f'<a href="/{wheel.relative_to(folder)}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}">'
        with page.open("a") as file:
            file.write(f"{link}{wheel.name}</a><br>\n")


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
