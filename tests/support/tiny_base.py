"""A stand-in for the base image, made in seconds from this machine's own files: a shell, Python and uv."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from binderlet.builder.layout import ENTRYPOINT, HOME, PREFIX, UID, USER
from binderlet.builder.toolchain import Toolchain
from binderlet.errors import BinderletError, BuildFailed
from binderlet.events.buildlog import BuildLog
from binderlet.model import Image

PROGRAMS = (
    "bash",
    "cat",
    "chmod",
    "env",
    "find",
    "head",
    "id",
    "ls",
    "mkdir",
    "rm",
    "sleep",
    "timeout",
    "touch",
    "uname",
    "yes",
)
LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|test|tests|site-packages|dist-packages|idlelib|tkinter|ensurepip|config-.*)(/|$)"
)


@dataclass(frozen=True)
class TinyBase:
    """What a builder needs to know of its base image."""

    name: str
    id: str
    python: str = f"{sys.version_info[0]}.{sys.version_info[1]}"


class TinyBases:
    """Gives one base image, others by Python where there are any, and counts how often it was asked."""

    def __init__(self, base: TinyBase) -> None:
        self.base = base
        self.asked = 0
        self.by_python: dict[str, TinyBase | BinderletError] = {}
        """What asking for another Python gives."""

    @property
    def others(self) -> tuple[str, ...]:
        """The Pythons that can be asked for."""
        return tuple(self.by_python)

    async def ensure(self, log: BuildLog, python: str = "") -> TinyBase:
        """Give it, and say so in the log."""
        found = self.by_python.get(python, self.base)
        if isinstance(found, BinderletError):
            raise found
        log.write(f"The base image is {found.name}.")
        self.asked += 1
        return found

    def is_outdated(self, python: str, base_id: str) -> bool:
        """Whether it is another one."""
        return python == self.base.python and base_id != self.base.id


class CliStore:
    """An image store that asks the engine's command line."""

    def __init__(self, program: str) -> None:
        self._program = program

    async def find(self, name: str) -> Image | None:
        """Give the image of that name."""
        found = await asyncio.to_thread(
            docker, self._program, "image", "inspect", "--format", "{{.Id}} {{json .Config.Labels}}", name, check=False
        )
        image_id, _, labels = found.strip().partition(" ")
        return Image(name, image_id, labels=json.loads(labels) or {}) if image_id else None

    async def refresh(self) -> None:
        """Do nothing: nothing is remembered."""

    async def label(self, image: str, name: str, labels: Mapping[str, str]) -> Image:
        """Name an image, by the engine's builder of old, which newer ones still have."""
        words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        command = [self._program, "build", "--quiet", "--tag", name, *words, "-"]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            input=f"FROM {image}\n".encode(),
            capture_output=True,
            check=False,
            env=os.environ | {"DOCKER_BUILDKIT": "0"},
        )
        if done.returncode or (found := await self.find(name)) is None:
            raise BuildFailed(done.stderr.decode())
        return found

    async def remove(self, name: str) -> None:
        """Remove an image."""
        await asyncio.to_thread(docker, self._program, "image", "rm", "--force", name, check=False)

    async def close(self) -> None:
        """Do nothing."""


def docker(program: str, *arguments: str, check: bool = True, stdin: bytes | None = None) -> str:
    """Run the engine's command line and give its output."""
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, check=check)
    return done.stdout.decode()


def make_tiny_base(tools: Toolchain, name: str) -> TinyBase:
    """Import the stand-in under a name; the caller removes it."""
    path = f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": HOME, "NB_USER": USER}
    changes = [*(f"ENV {key}={value}" for key, value in environment.items()), f"USER {USER}", f"WORKDIR {HOME}"]
    arguments = [word for change in changes for word in ("--change", change)]
    image = docker(tools.program, "import", *arguments, "-", name, stdin=_archive()).strip()
    return TinyBase(name, image)


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        stdlib = Path(sys.base_prefix) / "lib" / f"python{TinyBase.python}"
        interpreter = Path(sys.executable).resolve()
        beside = Path(sys.executable).with_name("uv")
        uv = beside if beside.exists() else Path(shutil.which("uv") or "uv")
        programs = {Path(shutil.which(name) or name): f"bin/{name}" for name in PROGRAMS}
        programs |= {
            Path(shutil.which("bash") or ""): "bin/bash",
            interpreter: str(interpreter)[1:],
            uv: "usr/local/bin/uv",
        }
        _add_text(archive, "bin/sh", '#!/bin/bash\nexec /bin/bash "$@"\n', 0o755)
        for source, target in programs.items():
            archive.add(source, target, filter=_plain)
        archive.add(stdlib, str(stdlib)[1:], filter=_plain)
        extensions = [path for path in (stdlib / "lib-dynload").glob("*.so") if "tkinter" not in path.name]
        for library in _libraries([*programs, *extensions]):
            archive.add(library, library[1:], filter=_plain)
        _add_system(archive, interpreter)
    return buffer.getvalue()


def _add_system(archive: tarfile.TarFile, interpreter: Path) -> None:
    _add_text(archive, "etc/passwd", f"root:x:0:0::/root:/bin/bash\n{USER}:x:{UID}:{UID}::{HOME}:/bin/bash\n")
    _add_text(archive, "etc/group", f"root:x:0:\n{USER}:x:{UID}:\n")
    _add_text(archive, ENTRYPOINT[1:], '#!/bin/bash\nexec "$@"\n', 0o755)
    configuration = f"home = {interpreter.parent}\nversion = {sys.version.split()[0]}\n"
    _add_text(archive, f"{PREFIX[1:]}/pyvenv.cfg", configuration)
    link = tarfile.TarInfo(f"{PREFIX[1:]}/bin/python")
    link.type, link.linkname = tarfile.SYMTYPE, str(interpreter)
    archive.addfile(link)
    packages = f"{PREFIX[1:]}/lib/python{TinyBase.python}/site-packages"
    # What a build replaces belongs to its user, as in the real base image.
    prefixes = [PREFIX[1:], f"{PREFIX[1:]}/lib", packages.rpartition("/")[0], packages]
    folders = [("tmp", 0, 0o1777), (HOME[1:], UID, 0o755), *((path, UID, 0o755) for path in prefixes)]
    for folder, owner, mode in folders:
        info = tarfile.TarInfo(folder)
        info.type, info.uid, info.gid, info.mode = tarfile.DIRTYPE, owner, owner, mode
        archive.addfile(info)
    bin_folder = tarfile.TarInfo(f"{PREFIX[1:]}/bin")
    bin_folder.type, bin_folder.uid, bin_folder.gid, bin_folder.mode = tarfile.DIRTYPE, UID, UID, 0o755
    archive.addfile(bin_folder)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if LEFT_OUT.search(info.name):
        return None
    info.uid = info.gid = 0
    info.mode = 0o755
    info.mtime = 0
    return info


def _add_text(archive: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text.encode()), mode
    archive.addfile(info, io.BytesIO(text.encode()))


def _libraries(programs: list[Path]) -> set[str]:
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/\S+) \(0x", done.stdout))
