"""What the engine keeps for us: seen, told apart from what is not ours, and removed without force."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from aiodocker.exceptions import DockerError

from binderlet.clients.docker import DockerClient, open_docker
from binderlet.config.schema import EngineSettings
from binderlet.errors import EngineUnavailable
from binderlet.images.retention import GB, Item, Kind
from binderlet.images.stock import EngineStock, Names, cache_items
from support.engines import EngineApi, docker_socket, tiny_image

NOW = 1_795_400_000.0
HOUR, DAY = 3600.0, 86400.0
CONTENT = {"binderlet.image": "content", "binderlet.environment": "k", "binderlet.base": "b"}


class Engine:
    """The few calls of ``DockerClient`` that are made."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.containers: list[dict[str, Any]] = []
        self.cache: list[dict[str, Any]] | None = None
        self.calls: list[str] = []
        self.errors: dict[str, DockerError] = {}
        self.root = "/nonexistent"

    def add(self, name: str, *layers: str, size: int = 10, **labels: str) -> None:
        """Have an image."""
        tags = [name] if name else ["<none>:<none>"]
        self.images.append(
            {
                "Id": f"sha256:{name or len(self.images)}",
                "RepoTags": tags,
                "Size": size,
                "Created": NOW - DAY,
                "Labels": labels or None,
                "RootFS": {"Layers": list(layers)},
            }
        )

    async def call(self, method: str, path: str, *, params: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Answer as the engine would."""
        self.calls.append(f"{method} {path}" + (f" {params}" if params else ""))
        if error := self.errors.get(path):
            raise error
        if path == "images/json":
            return self.images
        if path.startswith("images/") and method == "GET":
            wanted = path.removeprefix("images/").removesuffix("/json").replace("%3A", ":")
            return next(image for image in self.images if wanted in {image["Id"], *image["RepoTags"]})
        answers = {
            "info": {"DockerRootDir": self.root, "Driver": "overlay2"},
            "containers/json": self.containers,
            "system/df": {"BuildCache": self.cache},
        }
        return answers.get(path, "")


def stock_of(engine: Engine, **more: Any) -> EngineStock:  # noqa: ANN401 - its own arguments
    """Make one for an engine."""
    return EngineStock(cast("DockerClient", engine), Names("b/i-"), "me", clock=lambda: NOW, **more)


def record(kind: str, idle: float, size: int, *, in_use: bool = False, shared: bool = False) -> dict[str, Any]:
    """Make a record of the build cache as the engine gives it."""
    at = datetime.fromtimestamp(NOW - idle, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {"Type": kind, "InUse": in_use, "Shared": shared, "Size": size, "LastUsedAt": f"{at}.236616535Z"}


async def test_only_what_is_ours_is_seen() -> None:
    """Images are told by their names, replaced ones by their labels; containers by the service's name."""
    engine = Engine()
    engine.add("b/i-x:1", "l1", "l2", "l3", size=30, **CONTENT)
    engine.add("binderlet/env:k", "l1", "l2", size=25)
    engine.add("localhost/binderlet/base:1", "l1", size=20)
    engine.add("python:3.11", "l1")
    engine.add("", "l1", "l9", size=22, **{"binderlet.base": "b", "binderlet.image": "environment"})
    engine.add("", "l1", "l8", size=21, **{"binderlet.base": "b"})
    engine.add("")
    engine.images[0]["RepoTags"].append("somebody/else:1")
    engine.containers = [
        {"Id": "c1", "ImageID": "sha256:b/i-x:1", "State": "running", "Labels": {"binderlet.instance": "me"}},
        {"Id": "c2", "ImageID": "x", "State": "exited", "Labels": {"binderlet.instance": "me"}, "Created": NOW - DAY},
        {"Id": "c3", "ImageID": "y", "State": "exited", "Labels": {"binderlet.instance": "other"}},
        {"Id": "c4", "ImageID": "z", "State": "dead", "Labels": None},
    ]
    stock = await stock_of(engine).look(thorough=False)
    assert [(image.name, image.kind) for image in stock.images] == [
        ("b/i-x:1", Kind.IMAGE),
        ("binderlet/env:k", Kind.ENVIRONMENT),
        ("localhost/binderlet/base:1", Kind.BASE),
        ("sha256:4", Kind.ENVIRONMENT),
        ("sha256:5", Kind.BASE),
    ]
    assert [image.is_shared_name for image in stock.images] == [True, False, False, False, False]
    assert [part.size for part in stock.parts["sha256:b/i-x:1"]] == [20, 5, 5]
    assert stock.in_use == {"sha256:b/i-x:1", "x", "y", "z"}
    (leftover,) = stock.leftovers
    assert (leftover.id, leftover.kind, leftover.is_junk) == ("container:c2", Kind.CONTAINER, True)
    assert not any("system/df" in call for call in engine.calls)


async def test_layers_are_asked_for_once(tmp_path: Path) -> None:
    """A second look asks only for what is new; an image that goes in between counts as one without layers."""
    engine = Engine()
    engine.root = str(tmp_path)
    engine.add("b/i-x:1", "l1", size=30)
    stock = stock_of(engine)
    await stock.look(thorough=False)
    assert stock.root == tmp_path
    engine.add("b/i-gone:1", "l1", size=30)
    engine.errors["images/sha256%3Ab/i-gone%3A1/json"] = DockerError(404, "No such image")
    engine.calls.clear()
    found = await stock.look(thorough=False)
    assert [call for call in engine.calls if call.startswith("GET images/sha")] == [
        "GET images/sha256%3Ab/i-gone%3A1/json"
    ]
    assert [part.size for part in found.parts["sha256:b/i-gone:1"]] == [30]
    engine.add("b/i-other:1", "l1")
    engine.errors["images/sha256%3Ab/i-other%3A1/json"] = DockerError(500, "broken")
    with pytest.raises(EngineUnavailable):
        await stock.look(thorough=False)


async def test_the_build_cache_is_measured_when_asked() -> None:
    """Measuring the build cache is slow, so what was measured last counts until it is asked for again."""
    engine = Engine()
    stock = stock_of(engine)
    assert (await stock.look(thorough=True)).leftovers == ()
    engine.cache = [record("regular", 2 * DAY, GB)]
    assert (await stock.look(thorough=False)).leftovers == ()
    assert len((await stock.look(thorough=True)).leftovers) == 1
    assert len((await stock.look(thorough=False)).leftovers) == 1
    await stock.let_go()
    assert "prune" in engine.calls.pop()
    off = stock_of(engine, build_cache=False)
    assert (await off.look(thorough=True)).leftovers == ()
    await off.let_go()
    assert not any("prune" in call for call in engine.calls)


def test_cache_by_type_and_age() -> None:
    """What is in use or shared with an image is left out; packages are worth most, and less the older they are."""
    items = cache_items(
        [
            record("regular", 2 * DAY, GB),
            record("regular", 2 * HOUR, 7),
            record("regular", 60, 5),
            record("regular", 2 * DAY, 9, in_use=True),
            record("regular", 2 * DAY, 9, shared=True),
            record("exec.cachemount", 40 * DAY, GB),
            record("exec.cachemount", 2 * HOUR, GB),
            record("source.local", 2 * DAY, GB),
            {"Type": "internal", "InUse": False, "Shared": False, "Size": 4, "CreatedAt": "2026-01-01T00:00:00Z"},
        ],
        NOW,
        HOUR,
    )
    sizes = {item.id: item.size for item in items}
    assert sizes == {
        "cache:source.local:86400": GB,
        "cache:regular:86400": GB,
        "cache:regular:3600": 7,
        "cache:exec.cachemount:2592000": GB,
        "cache:exec.cachemount:3600": GB,
    }
    worth = {item.id: item.cost * item.popularity for item in items}
    assert worth["cache:source.local:86400"] == 0
    assert worth["cache:regular:86400"] < worth["cache:exec.cachemount:2592000"] < worth["cache:exec.cachemount:3600"]


async def test_removing_asks_the_engine_without_force() -> None:
    """Images go by all their names of ours, or by id; what the engine keeps is told; what is gone counts as removed."""
    engine = Engine()
    engine.add("b/i-x:1")
    engine.images[0]["RepoTags"] += ["b/i-y:2", "somebody/else:1"]
    engine.add("")
    stock = stock_of(engine)
    assert await stock.remove(Item("image:sha256:b/i-x:1", Kind.IMAGE, "b/i-x:1", ()))
    assert await stock.remove(Item("image:sha256:1", Kind.IMAGE, "?", ()))
    assert await stock.remove(Item("container:c9", Kind.CONTAINER, "c", ()))
    assert await stock.remove(Item("cache:regular:3600", Kind.CACHE, "c", ()))
    assert [call for call in engine.calls if not call.startswith("GET")] == [
        "DELETE images/b/i-x%3A1",
        "DELETE images/b/i-y%3A2",
        "DELETE images/sha256%3A1",
        "DELETE containers/c9 {'v': '1'}",
        'POST build/prune {\'filters\': \'{"type": ["regular"], "until": ["3600s"]}\'}',
    ]
    engine.errors["images/b/i-x%3A1"] = DockerError(409, "in use")
    assert not await stock.remove(Item("image:sha256:b/i-x:1", Kind.IMAGE, "b/i-x:1", ()))
    engine.errors["images/b/i-x%3A1"] = DockerError(404, "No such image: x")
    assert await stock.remove(Item("image:sha256:b/i-x:1", Kind.IMAGE, "b/i-x:1", ()))
    engine.errors["images/sha256%3Agone/json"] = DockerError(404, "No such image: gone")
    assert await stock.remove(Item("image:sha256:gone", Kind.IMAGE, "gone", ()))
    for path in ("images/b/i-x%3A1", "images/sha256%3Agone/json"):
        engine.errors[path] = DockerError(500, "broken")
    for name in ("b/i-x:1", "gone"):
        with pytest.raises(EngineUnavailable):
            await stock.remove(Item(f"image:sha256:{name}", Kind.IMAGE, name, ()))


# On a real engine, with names that are this test's alone.


@pytest.fixture
def api() -> EngineApi:
    """The engine, from outside."""
    return EngineApi(docker_socket())


@pytest.fixture
def prefix() -> str:
    """Names that no other test has."""
    return f"binderlet-test/stock-{secrets.token_hex(4)}"


@pytest.fixture
def make(api: EngineApi, prefix: str) -> Iterator[Callable[[str, str, int], str]]:
    """Make an image on another one, with so many bytes of its own; gives its name."""
    made: list[str] = []

    def run(name: str, parent: str, size: int) -> str:
        command = ["sh", "-c", f"head -c {size} /dev/urandom > /blob-{name}"]
        container = api.call("POST", "containers/create", {"Image": parent, "Cmd": command})["Id"]
        api.call("POST", f"containers/{container}/start")
        api.call("POST", f"containers/{container}/wait")
        api.call("POST", "commit", {"Cmd": ["sleep", "60"]}, container=container, repo=f"{prefix}-{name}", tag="1")
        api.call("DELETE", f"containers/{container}", force="1")
        made.append(f"{prefix}-{name}:1")
        return made[-1]

    yield run
    for name in reversed(made):
        with contextlib.suppress(OSError):
            api.call("DELETE", f"images/{name}", force="1")


@pytest.fixture
async def real(prefix: str) -> AsyncIterator[EngineStock]:
    """A stock that sees only this test's images, and no build cache."""
    names = Names(f"{prefix}-i", f"{prefix}-env", (f"{prefix}-base",))
    async with await open_docker(EngineSettings()) as client:
        yield EngineStock(client, names, f"{prefix.rpartition('/')[2]}", build_cache=False)


@pytest.mark.docker
async def test_a_real_engine(api: EngineApi, real: EngineStock, make: Callable[[str, str, int], str]) -> None:
    """Real layers are shared as they are; what runs is kept by the engine, what does not run goes."""

    def build() -> tuple[str, str, str]:
        environment = make("env", tiny_image(api), 300_000)
        return environment, make("i-one", environment, 50_000), make("i-two", environment, 70_000)

    environment, one, two = await asyncio.to_thread(build)
    stock = await real.look(thorough=True)
    by_name = {image.name: image for image in stock.images if image.names}
    assert set(by_name) == {environment, one, two}
    parts = {name: stock.parts[image.id] for name, image in by_name.items()}
    assert parts[one][: len(parts[environment])] == parts[two][: len(parts[environment])] == parts[environment]
    assert 50_000 <= sum(part.size for part in parts[one]) - sum(part.size for part in parts[environment]) < 60_000
    container = (await asyncio.to_thread(api.call, "POST", "containers/create", {"Image": two}))["Id"]
    try:
        used = await real.look(thorough=False)
        assert by_name[two].id in used.in_use
        removed = {
            name: await real.remove(Item(f"image:{by_name[name].id}", Kind.IMAGE, name, ())) for name in (two, one)
        }
        assert removed == {two: False, one: True}
    finally:
        await asyncio.to_thread(api.call, "DELETE", f"containers/{container}", force="1")
    left = await real.look(thorough=False)
    assert {image.name for image in left.images if image.names} == {environment, two}


@pytest.mark.docker
async def test_a_real_engine_takes_the_filters() -> None:
    """The build cache is asked for in the engine's own words; nothing is as old as what is asked for here."""
    async with await open_docker(EngineSettings()) as client:
        await EngineStock(client, Names("none/"), "none").prune("regular", 50 * 365 * DAY)
