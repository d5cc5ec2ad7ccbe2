"""Podman's way to the registry, with a program that says what Podman would."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder.cluster.store import Store, words
from binderlet.errors import EngineUnavailable, RegistryUnreachable, StorageFull, StorageRefused
from binderlet.events.buildlog import BuildLog
from binderlet.images.shelf import Shelf
from support.eventually import eventually

SHELF = Shelf("registry:5000", "localhost:5000", "binder/", "user", "secret")
Make = Callable[[str], Store]


class World:
    """A folder with a program, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = BuildLog(folder / "log")
        self.shelf = SHELF

    async def store(self, script: str) -> Store:
        """Give a store whose Podman is a script; it keeps its arguments and the logins it saw."""
        program = self.folder / "podman"
        text = f'#!/bin/bash\necho "$*" >>{self.folder}/calls\ncat {self.folder}/logins.json >>{self.folder}/saw 2>&1\n'
        await asyncio.to_thread(program.write_text, f"{text}{script}\n")
        program.chmod(0o755)
        return Store(self.shelf, self.folder, program=str(program), pause=0.0)

    async def calls(self) -> list[str]:
        """Give the command lines."""
        return (await asyncio.to_thread((self.folder / "calls").read_text)).splitlines()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A folder of its own."""
    return World(tmp_path)


async def test_bring(world: World) -> None:
    """An image with the right label is pulled and named; the password was in a file meanwhile, and is not any more."""
    told: list[str] = []
    store = await world.store('[ "$1" = image ] && echo right; exit 0')
    assert await store.bring("binderlet/base:1", "binderlet.base", "right", told.append)
    there = "registry:5000/binder/binderlet/base:1"
    assert await world.calls() == [
        f"pull --authfile {world.folder}/logins.json --quiet docker://{there}",
        f'image inspect --format {{{{index .Labels "binderlet.base"}}}} {there}',
        f"tag {there} binderlet/base:1",
    ]
    assert told == [f"Looking for {there}..."]
    saw = await asyncio.to_thread((world.folder / "saw").read_text)
    auth = base64.b64encode(b"user:secret").decode()
    assert json.dumps({"auths": {"registry:5000": {"auth": auth}}}) in saw
    assert not (world.folder / "logins.json").exists()


async def test_bring_another_image(world: World) -> None:
    """One with another label, or one that is not there, is not taken."""
    store = await world.store('[ "$1" = image ] && echo wrong; exit 0')
    assert not await store.bring("a:1", "l", "right", lambda _: None)
    store = await world.store("exit 1")
    assert not await store.bring("a:1", "l", "right", lambda _: None)


async def test_have(world: World) -> None:
    """What the operator chose is pulled where it is not here, by the name that pods know it by."""
    store = await world.store('[ "$1" = image ] && exit 1; exit 0')
    await store.have("localhost:5000/binder/base:1")
    await store.have("docker.io/base:1")
    calls = await world.calls()
    assert "docker://registry:5000/binder/base:1" in calls[1]
    assert calls[2] == "tag registry:5000/binder/base:1 localhost:5000/binder/base:1"
    assert "docker://docker.io/base:1" in calls[4]
    store = await world.store("exit 0")
    await store.have("localhost:5000/binder/base:1")
    assert (await world.calls())[-1].startswith("image exists")


async def test_push(world: World) -> None:
    """A registry without TLS and password is one, too."""
    world.shelf = replace(SHELF, username="", is_plain=True)
    store = await world.store("exit 0")
    await store.push("localhost:5000/binder/i-x:1", world.log)
    options = f"--authfile {world.folder}/logins.json --tls-verify=false --quiet"
    assert await world.calls() == [f"push {options} {SHELF.known_as}/binder/i-x:1 docker://{SHELF.host}/binder/i-x:1"]
    assert '{"auths": {}}' in await asyncio.to_thread((world.folder / "saw").read_text)


@pytest.mark.parametrize(
    ("said", "error", "calls"),
    [
        ("Error: unauthorized: no", StorageRefused, 1),
        ("Error: no space left on device", StorageFull, 1),
        ("Error: dial tcp: refused", RegistryUnreachable, 3),
    ],
)
async def test_push_fails(world: World, said: str, error: type[Exception], calls: int) -> None:
    """What trying again may mend is tried again; the last words are told."""
    store = await world.store(f'echo "{said}"; exit 125')
    with pytest.raises(error, match=said.removeprefix("Error: ")):
        await store.push("localhost:5000/binder/i-x:1", world.log)
    assert len(await world.calls()) == calls


async def test_share(world: World) -> None:
    """What others can build on is pushed once; where that fails, later again."""
    store = await world.store('[ "$1" = image ] && echo "id-of-$5"; exit 0')
    await store.share(["a:1"])
    await store.share(["a:1"])
    assert sum(call.startswith("push") for call in await world.calls()) == 1
    store = await world.store('[ "$1" = image ] && echo id && exit 0; exit 1')
    await store.share(["b:1"])
    await store.share(["b:1"])
    assert sum(call.startswith("push") for call in await world.calls()) == 3
    store = await world.store("exit 0")
    await store.share(["gone:1"])
    assert sum(call.startswith("push") for call in await world.calls()) == 3


async def test_environments_and_remove(world: World) -> None:
    """Environments are given the oldest first, without images that are built on them."""
    store = await world.store('echo "localhost/binderlet/env:new localhost/i-x:1 localhost/binderlet/env:old"')
    assert await store.environments() == ["localhost/binderlet/env:old", "localhost/binderlet/env:new"]
    await store.remove("a:1", "b:1")
    assert (await world.calls())[-1] == "image rm --force a:1 b:1"


async def test_no_podman(world: World) -> None:
    """A pod without Podman says so."""
    store = Store(SHELF, world.folder, program="/nonexistent/podman")
    with pytest.raises(EngineUnavailable, match="cannot be started"):
        await store.remove("a:1")


async def test_cancelled(world: World) -> None:
    """A transfer that is given up ends."""
    store = await world.store("exec sleep 600")
    pushing = asyncio.gather(store.push("a:1", world.log))
    await eventually((world.folder / "calls").exists)
    pushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pushing
    assert not (world.folder / "logins.json").exists()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('time="x" level=warning msg="y"\nError: one: two\n', "one: two"),
        ('time="x" level=error msg="y"', 'time="x" level=error msg="y"'),
        ("", ""),
    ],
)
def test_words(said: str, found: str) -> None:
    """Podman's warnings are left out, unless there is nothing else."""
    assert words(said) == found
