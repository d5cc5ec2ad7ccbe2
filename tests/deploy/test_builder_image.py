"""Making the image of builder pods, with a build tool that only looks; the real one is made for the cluster's tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

import binderlet
from binderlet.builder.toolchain import Toolchain
from binderlet.builder.workbench import Workbench
from binderlet.config.network import NetworkEnvironment
from binderlet.deploy import builder_image
from binderlet.deploy.builder_image import Made, lock_file, make, push
from binderlet.errors import BuildFailed, MissingProgram
from binderlet.events.buildlog import BuildLog
from binderlet.images.courier import Courier
from support.eventually import eventually


@dataclass
class _Base:
    name: str = "binderlet/base:1"


class _Bases:
    async def ensure(self, _log: BuildLog) -> _Base:
        """Give one."""
        return _Base()

    async def debian(self, packages: tuple[str, ...], repository: str, _log: BuildLog) -> str:
        """Give one."""
        assert "podman" in packages
        return f"{repository}:1"


@dataclass
class _Bench:
    tools: Toolchain
    bases: _Bases


async def bench(folder: Path, script: str) -> Workbench:
    """Give a workbench whose build tool is a script."""
    program = folder / "docker"
    await asyncio.to_thread(program.write_text, f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    return cast("Workbench", _Bench(Toolchain("docker", str(program), "20"), _Bases()))


def files_in(folder: Path) -> set[str]:
    """Give the paths of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_make(tmp_path: Path) -> None:
    """The context has this very binderlet, its lock file and the machine's certificates, and nothing stays."""
    bundle = tmp_path / "bundle.pem"
    await asyncio.to_thread(bundle.write_text, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    seen = tmp_path / "seen"
    here = await bench(tmp_path, f'echo "$*" >{seen}.arguments; cp -r "${{@: -1}}" {seen}')
    network = NetworkEnvironment(index_url="https://index/", ca_bundle=bundle)
    made = await make(here, network, "b:1", BuildLog(tmp_path / "log"))
    assert made == Made("b:1", "binderlet/base:1")
    found = await asyncio.to_thread(files_in, seen)
    ours = f"site/binderlet-{binderlet.__version__}.dist-info/entry_points.txt"
    wanted = {"Dockerfile", "requirements.lock", "etc/storage.conf", "site/binderlet/model.py", ours}
    assert wanted <= found
    assert "certificates/binderlet-0.crt" in found
    assert not any("__pycache__" in path for path in found)
    arguments = await asyncio.to_thread(Path(f"{seen}.arguments").read_text)
    assert "--build-arg BASE=binderlet/builder-system:1" in arguments
    assert not await asyncio.to_thread(Path(arguments.split()[-1]).exists)


async def test_make_fails(tmp_path: Path) -> None:
    """The tool's last words are told."""
    here = await bench(tmp_path, "echo no such package; exit 1")
    with pytest.raises(BuildFailed, match="no such package"):
        await make(here, NetworkEnvironment(), "b:1", BuildLog(tmp_path / "log"))


async def test_given_up(tmp_path: Path) -> None:
    """Making it ends when nobody waits for it any more."""
    here = await bench(tmp_path, f"touch {tmp_path}/begun; sleep 600")
    making = asyncio.gather(make(here, NetworkEnvironment(), "b:1", BuildLog(tmp_path / "log")))
    await eventually((tmp_path / "begun").exists, seconds=15)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making


class _Courier:
    async def push(self, name: str) -> str:
        """Pretend."""
        return f"there/{name}"


async def test_push(tmp_path: Path) -> None:
    """The base image goes there, too: builder pods look for it."""
    courier = cast("Courier", _Courier())
    pushed = await push(Made("b:1", "binderlet/base:1"), courier, BuildLog(tmp_path / "log"))
    assert pushed == ["there/binderlet/base:1", "there/b:1"]


def test_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found in the source tree, and beside the installed package; elsewhere it is missing."""
    assert lock_file().name == builder_image.LOCK
    package = tmp_path / "a" / "site" / "binderlet"
    package.mkdir(parents=True)
    monkeypatch.setattr(binderlet, "__file__", str(package / "__init__.py"))
    with pytest.raises(MissingProgram, match="requirements"):
        lock_file()
    (package / "requirements.lock").touch()
    assert lock_file() == package / "requirements.lock"
