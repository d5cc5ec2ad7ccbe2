"""What makes another environment and what does not, and that all content of a repository comes into its image."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from binderlet.builder.base import BuildRequest
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.environments import ENVIRONMENT_IMAGE
from binderlet.builder.toolchain import Toolchain
from binderlet.clients.git import Git
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.events.buildlog import BuildLog
from binderlet.model import Commit, Image
from binderlet.providers.fetch import Fetcher
from binderlet.providers.mirrors import Mirrors
from support.gitserver import GitServer, Link, Program, Repository, make_repository
from support.tiny_base import TinyBase, TinyBases
from support.values import COMMIT
from support.workshop import Workshop

PYTHON = TinyBase.python
Changes = Mapping[str, str | None]
"""Files to write; None removes one."""

BASE: Changes = {
    "requirements.txt": "# what it needs\nnumpy>=1\n-r more.txt\n-c pins.txt\n",
    "more.txt": "scipy\n",
    "pins.txt": "scipy<2\n",
    "apt.txt": "git\ncurl\n",
    "runtime.txt": f"python-{PYTHON}",
    "postBuild": "#!/bin/bash\n",
    "start": '#!/bin/bash\nexec "$@"\n',
    "a.ipynb": "{}",
}
CONDA: Changes = {
    "environment.yml": "channels: [a]\ndependencies:\n  - toy=1\n  - pip:\n    - numpy\n",
    "requirements.txt": "left out\n",
    "a.ipynb": "{}",
}

SAME: dict[str, tuple[Changes, Changes]] = {
    "a notebook changes": (BASE, {"a.ipynb": "[]"}),
    "files come and go": (BASE, {"a.ipynb": None, "data/x.csv": "1", "src/package.py": ""}),
    "postBuild changes": (BASE, {"postBuild": "#!/bin/bash\necho\n"}),
    "start goes": (BASE, {"start": None}),
    "ignored files change": (BASE, {".dockerignore": "data\n"}),
    "a comment, a blank line": (BASE, {"requirements.txt": "numpy>=1\n\n-r more.txt\n# and\n-c pins.txt\n"}),
    "Windows line ends": (BASE, {"requirements.txt": "# what it needs\r\nnumpy>=1\r\n-r more.txt\r\n-c pins.txt\r\n"}),
    "Debian packages in another order, twice": (BASE, {"apt.txt": "curl git # both\ngit\n"}),
    "the runtime is the base image's anyway": (BASE, {"runtime.txt": None}),
    "the repository itself": (BASE, {"more.txt": "scipy\n-e .\n", "setup.py": ""}),
    "files that nothing reads": (BASE, {"requirements-dev.txt": "x\n", "install.R": "", "tox.ini": ""}),
    "configuration moves into a folder": (
        BASE,
        {name: None for name in BASE if name != "a.ipynb"}
        | {f"binder/{name}": text for name, text in BASE.items() if name != "a.ipynb"},
    ),
    "conda: requirements.txt does not count": (CONDA, {"requirements.txt": "other\n"}),
    "conda: name, prefix, comments, layout": (
        CONDA,
        {"environment.yml": "name: x # y\n\ndependencies: [toy=1, {pip: [numpy]}]\nchannels:\n- a\nprefix: /x\n"},
    ),
}
OTHER: dict[str, tuple[Changes, Changes]] = {
    "a requirement": (BASE, {"requirements.txt": "numpy>=2\n-r more.txt\n-c pins.txt\n"}),
    "an included file": (BASE, {"more.txt": "scipy\npandas\n"}),
    "a constraint": (BASE, {"pins.txt": "scipy<1\n"}),
    "an option": (BASE, {"more.txt": "--pre\nscipy\n"}),
    "a Debian package": (BASE, {"apt.txt": "git\n"}),
    "the day of the packages": (BASE, {"runtime.txt": f"python-{PYTHON}-2024-01-01"}),
    "no requirements": (BASE, {"requirements.txt": None}),
    "a folder for configuration": (BASE, {"binder/x": ""}),
    "conda instead of pip": (BASE, {"environment.yml": "channels: [a]\ndependencies: [toy]\n"}),
    "conda: a package": (CONDA, {"environment.yml": "channels: [a]\ndependencies: [toy=2, {pip: [numpy]}]\n"}),
    "conda: a channel": (CONDA, {"environment.yml": "channels: [b]\ndependencies: [toy=1, {pip: [numpy]}]\n"}),
    "conda: pip's packages": (CONDA, {"environment.yml": "channels: [a]\ndependencies: [toy=1, {pip: [x]}]\n"}),
    "conda: a variable": (
        CONDA,
        {"environment.yml": "channels: [a]\ndependencies: [toy=1, {pip: [numpy]}]\nvariables: {A: b}\n"},
    ),
}


class AskedError(Exception):
    """The builder has asked for an environment."""


class Keys:
    """An image store that tells which environment is looked for."""

    async def find(self, name: str) -> Image | None:
        """Give up with the environment's name."""
        if name.startswith(ENVIRONMENT_IMAGE):
            raise AskedError(name)
        return None

    async def refresh(self) -> None:
        """Do nothing."""


@dataclass
class Machine:
    """What else an environment is made of."""

    settings: BuilderSettings
    base: str = "sha256:1"


async def key_of(folder: Path, files: Changes, machine: Machine | None = None) -> str:
    """Give the environment that a repository's build asks for."""
    machine = machine or Machine(BuilderSettings())
    builder = BuildKitBuilder(
        machine.settings,
        NetworkEnvironment(),
        toolchain=Toolchain("docker", "no-such-program", "20"),
        base=TinyBases(TinyBase("base:1", machine.base)),
        images=Keys(),
        state=folder / "state",
    )
    checkout = folder / "checkout"
    await asyncio.to_thread(_write, checkout, files)
    with pytest.raises(AskedError) as asked:
        await builder.build(BuildRequest(COMMIT, checkout, "x:1"), BuildLog(folder / "log"))
    await builder.close()
    return str(asked.value)


def _write(checkout: Path, files: Changes) -> None:
    checkout.mkdir(exist_ok=True)
    for name, text in files.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_text(text, newline="")


@pytest.mark.parametrize("name", SAME)
async def test_same_environment(tmp_path: Path, name: str) -> None:
    """What makes no other environment builds none."""
    base, changes = SAME[name]
    assert await key_of(tmp_path, base) == await key_of(tmp_path, changes)


@pytest.mark.parametrize("name", OTHER)
async def test_other_environment(tmp_path: Path, name: str) -> None:
    """What makes another environment never gets the old one."""
    base, changes = OTHER[name]
    assert await key_of(tmp_path, base) != await key_of(tmp_path, changes)


async def test_environment_of_another_machine(tmp_path: Path) -> None:
    """The base image counts, and the settings that choose packages; a mirror or a limit does not."""
    settings = BuilderSettings()
    usual = await key_of(tmp_path, BASE)
    assert await key_of(tmp_path, {}, Machine(settings, "sha256:2")) != usual
    assert await key_of(tmp_path, {}, Machine(BuilderSettings(exclude_newer="2024-01-01"))) != usual
    assert await key_of(tmp_path, {}, Machine(BuilderSettings(base_mirror="http://m.test", timeout=60))) == usual


def large(size: int) -> bytes:
    """Give bytes that do not compress, the same each time."""
    return b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(size // 32))


@pytest.mark.docker
@pytest.mark.timeout(60)  # a fetch and a build for real
async def test_all_content_comes(workshop: Workshop, tmp_path: Path) -> None:
    """Submodules, LFS files, large files, modes and links are in the image as they are, but for what is ignored."""
    (tmp_path / "served").mkdir()
    with GitServer(tmp_path / "served") as server:
        sha = await asyncio.to_thread(_publish, server, tmp_path / "served")
        commit = Commit("git", sha, server.url("r"), server.url("r"), server.url("r"), f"x/{sha}", "r", "o")
        git = Git(protocols=("http",), environment=os.environ)
        mirrors = Mirrors(git, tmp_path / "mirrors", limit=10**9)
        fetcher = Fetcher(git, mirrors, seconds=60, limit=10**9, protocols=("http",))
        await fetcher.fetch(commit, tmp_path / "fetched", print)
    request = BuildRequest(commit, tmp_path / "fetched", workshop.request().image)
    image = await workshop.builder.build(request, workshop.log())
    look = (
        "import hashlib, os, sys\n"
        "for top, folders, names in os.walk('.'):\n"
        "    if top == '.': folders.remove('.git')\n"
        "    for name in names:\n"
        "        path = os.path.join(top, name)\n"
        "        is_link = os.path.islink(path)\n"
        "        what = os.readlink(path) if is_link else hashlib.md5(open(path, 'rb').read()).hexdigest()\n"
        "        print(path[2:], os.stat(path, follow_symlinks=False).st_mode & 0o100, what)\n"
    )
    expected = await asyncio.to_thread(_look, tmp_path / "fetched")
    shown = (await workshop.run(image, "python", "-c", look)).splitlines()
    found = {line for line in shown if not line.startswith((".bash", ".profile", ".cache", ".local"))}
    assert found == expected
    assert f"large.dat 0 {hashlib.md5(large(5_000_000), usedforsecurity=False).hexdigest()}" in found
    assert f"a.bin 0 {hashlib.md5(b'large file', usedforsecurity=False).hexdigest()}" in found
    assert any(line.startswith("sub/inside.txt ") for line in found)
    assert not any("left" in line for line in found)


def _publish(server: GitServer, served: Path) -> str:
    make_repository(served / "sub", {"inside.txt": "of the submodule", "left-out.txt": ""})
    repository = Repository(served / "r")
    repository.commit(
        {
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "a.bin": server.add_lfs(b"large file"),
            "large.dat": large(5_000_000),
            "run.sh": Program("#!/bin/sh\n"),
            "to": Link("sub/inside.txt"),
            "binder/.dockerignore": "left-by-docker.txt\n",
            "binder/.containerignore": "**/left-out.txt\n",
            "binder/.binderignore": "left-by-binder\n",
            "left-by-docker.txt": "",
            "left-by-binder/x": "",
        }
    )
    return repository.submodule(server.url("sub"), "sub")


def _look(checkout: Path) -> set[str]:
    found = set()
    for path in checkout.rglob("*"):
        name = path.relative_to(checkout)
        if name.parts[0] == ".git" or "left" in str(name) or (path.is_dir() and not path.is_symlink()):
            continue
        what = (
            str(path.readlink())
            if path.is_symlink()
            else hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        )
        found.add(f"{name} {path.lstat().st_mode & 0o100} {what}")
    return found
