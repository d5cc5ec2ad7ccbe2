"""The engine's own store: events, labels and faults; what all stores do is in ``test_contract.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import pytest
from aiodocker.exceptions import DockerError

from binderlet.clients.docker import DockerClient
from binderlet.errors import EngineUnavailable, LaunchFailed
from binderlet.images import local
from binderlet.images.local import LocalImages


class Engine:
    """The few calls of ``DockerClient`` that the store makes."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.events: asyncio.Queue[dict[str, str] | Exception | None] = asyncio.Queue()
        self.since: list[Mapping[str, str]] = []

    def add(self, name: str, **labels: str) -> None:
        """Have an image."""
        self.images[name] = {"Id": f"sha256:{name}", "Size": 7, "Labels": labels or None}

    async def call(self, method: str, path: str) -> Any:  # noqa: ANN401 - JSON
        """Answer as the engine would."""
        self.calls.append(f"{method} {path}")
        if self.error is not None:
            raise self.error
        if path == "images/json":
            return [{"RepoTags": [name], **image} for name, image in self.images.items()] + [
                {"RepoTags": None, "Id": "sha256:none", "Size": 0, "Labels": None}
            ]
        name = path.removeprefix("images/").removesuffix("/json").replace("%3A", ":")
        if name not in self.images:
            raise DockerError(404, f"No such image: {name}")
        if method == "DELETE":
            return self.images.pop(name)
        return {**self.images[name], "Config": {"Labels": self.images[name]["Labels"]}}

    async def relabel(self, image: str, name: str, labels: Mapping[str, str]) -> None:
        """Name an image, unless the engine is one that does not."""
        if image in self.images:
            self.add(name, **labels)

    async def stream(self, path: str, *, params: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
        """Give events until None, or until an error."""
        assert path == "events"
        self.since.append(params)
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture
def engine() -> Engine:
    """Give an engine."""
    return Engine()


@pytest.fixture
async def store(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalImages]:
    """Give a store that does not wait long for anything."""
    monkeypatch.setattr(local, "SETTLE", 0.0)
    monkeypatch.setattr(local, "RETRY", 0.0)
    store = LocalImages(cast("DockerClient", engine))
    yield store
    await store.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for what is inside
            await asyncio.sleep(0.001)


async def test_answers_from_memory(store: LocalImages, engine: Engine) -> None:
    """The engine is read once, however often an image is asked for."""
    engine.add("a:1", kind="x")
    for _ in range(3):
        found = await store.find("a:1")
        assert found is not None
        assert (found.id, found.size, found.labels) == ("sha256:a:1", 7, {"kind": "x"})
    assert engine.calls == ["GET images/json"]


async def test_a_missing_name_is_asked_of_the_engine(store: LocalImages, engine: Engine) -> None:
    """An image that came since the last reading is found without another, and remembered."""
    await store.refresh()
    engine.add("a:1")
    assert await store.find("a:1") is not None
    assert await store.find("a:1") is not None
    assert engine.calls == ["GET images/json", "GET images/a%3A1/json"]


async def test_events_keep_the_index_true(store: LocalImages, engine: Engine) -> None:
    """An image that somebody else removes is not found any more."""
    engine.add("a:1")
    await store.watch()
    assert await store.find("a:1") is not None
    del engine.images["a:1"]
    engine.events.put_nowait({"Action": "delete"})
    await until(lambda: "a:1" not in store._index)
    assert await store.find("a:1") is None


async def test_lost_events_are_made_up_for(store: LocalImages, engine: Engine) -> None:
    """When the stream breaks or ends, another is opened and the store is read anew."""
    engine.add("a:1")
    await store.watch()
    engine.events.put_nowait(OSError("broken"))
    engine.events.put_nowait(None)
    await until(lambda: len(engine.since) >= 3)
    del engine.images["a:1"]
    engine.events.put_nowait(None)
    await until(lambda: "a:1" not in store._index)
    assert all(int(params["since"]) > 0 for params in engine.since)


async def test_a_failed_reading_keeps_what_is_known(store: LocalImages, engine: Engine) -> None:
    """While the engine does not answer, known images are still found; later events are followed again."""
    engine.add("a:1")
    await store.watch()
    engine.error = OSError("down")
    before = len(engine.calls)
    engine.events.put_nowait({"Action": "tag"})
    await until(lambda: len(engine.calls) > before)
    assert await store.find("a:1") is not None
    with pytest.raises(EngineUnavailable):
        await store.find("b:1")
    engine.error = None
    engine.add("b:1")
    engine.events.put_nowait({"Action": "tag"})
    await until(lambda: "b:1" in store._index)


async def test_a_refused_question_is_not_missing(store: LocalImages, engine: Engine) -> None:
    """An answer that is neither the image nor 'no such image' counts as no answer."""
    await store.refresh()
    engine.error = DockerError(400, "bad name")
    with pytest.raises(EngineUnavailable):
        await store.find("???")


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (DockerError(500, "x"), EngineUnavailable),
        (DockerError(400, "x"), LaunchFailed),
        (TimeoutError(), EngineUnavailable),
    ],
)
async def test_removing_raises_our_errors(
    store: LocalImages, engine: Engine, error: Exception, ours: type[Exception]
) -> None:
    """A removal that fails for another reason than use raises our error, and the image is still known."""
    engine.add("a:1")
    await store.refresh()
    engine.error = error
    with pytest.raises(ours):
        await store.remove("a:1")
    assert "a:1" in store._index


async def test_removing_what_is_gone_or_in_use(store: LocalImages, engine: Engine) -> None:
    """An image in use stays in the index; one that is gone leaves it."""
    engine.add("a:1")
    await store.refresh()
    engine.error = DockerError(409, "in use")
    await store.remove("a:1")
    assert "a:1" in store._index
    engine.error = None
    await store.remove("a:1")
    await store.remove("a:1")
    assert await store.find("a:1") is None


async def test_label(store: LocalImages, engine: Engine) -> None:
    """The image with the name and the labels is known at once, and the nameless one goes."""
    engine.add("sha256:1")
    assert (await store.label("sha256:1", "a:1", {"kind": "x"})).labels == {"kind": "x"}
    assert await store.find("a:1") is not None
    await until(lambda: "sha256:1" not in engine.images)


async def test_label_that_does_not_come(store: LocalImages, engine: Engine) -> None:
    """An engine that says yes and does nothing is noticed."""
    engine.add("b:1")
    for name in ("a:1", "b:1"):
        with pytest.raises(LaunchFailed, match=f"did not give {name}"):
            await store.label("sha256:2", name, {"kind": "x"})
