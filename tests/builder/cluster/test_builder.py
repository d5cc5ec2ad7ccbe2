"""Builds in builder pods, as far as the control plane goes, with an API server of the tests and pods by script."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from binderlet.builder.base import BuildRequest
from binderlet.builder.cluster.builder import ClusterBuilder, _settle
from binderlet.builder.cluster.choice import BuilderPod
from binderlet.builder.cluster.following import MARK, last_seen
from binderlet.builder.cluster.messages import CANCEL, Alive, Anew, Built, Busy, Failed, Line, Order
from binderlet.config.builder_pods import BuilderPodsSettings
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository, BuildFailed, BuildTimeout, EngineUnavailable
from binderlet.events.buildlog import BuildLog
from binderlet.images.fake import FakeImages
from binderlet.images.shelf import Shelf
from binderlet.model import Image, Phase
from support.builder_pods import BuilderPods, Conversation, builder_pods
from support.eventually import eventually
from support.values import COMMIT

NAME = "localhost:5000/i-x:1"
IMAGE = Image(NAME, "sha256:1", labels={"binderlet.image": "content", "binderlet.environment": "e"})
SHELF = Shelf("registry:5000", "localhost:5000")
Go = Callable[..., Awaitable[Image]]


class World:
    """A builder, its pods, and a build."""

    def __init__(self, pods: BuilderPods, builder: ClusterBuilder, folder: Path) -> None:
        self.pods = pods
        self.builder = builder
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        (self.checkout / "a.ipynb").write_text("{}")
        self.log = BuildLog(folder / "log")

    async def build(self, *, refresh: bool = False) -> Image:
        """Build it."""
        return await self.builder.build(BuildRequest(COMMIT, self.checkout, NAME, refresh=refresh), self.log)

    async def lines(self) -> list[str]:
        """Give the log."""
        self.log.finish()
        return [event.message.rstrip() async for event in self.log.follow()]


@asynccontextmanager
async def world(
    script: Callable[[Conversation], Awaitable[None]],
    folder: Path,
    *,
    images: FakeImages | None = None,
    deadline: float = 60.0,
    handover: float = 20.0,
    **settings: float,
) -> AsyncIterator[World]:
    """Give a builder whose pods follow the script."""
    async with builder_pods(script) as (pods, client):
        order = Order("build", BuilderSettings(timeout=deadline), NetworkEnvironment(), (), SHELF)
        chosen = BuilderPodsSettings(namespace="builds", **settings)
        builder = ClusterBuilder(
            client, chosen, order, images or FakeImages(), "x", pause=0.01, silence=5.0, handover=handover
        )
        try:
            yield World(pods, builder, folder)
        finally:
            await builder.close()


async def test_builds(tmp_path: Path) -> None:
    """The checkout goes there, lines come back as they are said, and the image is what the pod says."""
    files: list[str] = []
    orders: list[Order] = []

    async def script(it: Conversation) -> None:
        order, archive = await it.order()
        orders.append(order)
        if archive:
            with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
                files.extend(opened.getnames())
        await it.say(Line("fetched", Phase.FETCHING), Alive(), Line("built", Phase.BUILDING))
        await it.say(Built(IMAGE, {"3.11": "sha256:new"}))
        await it.end()

    async with world(script, tmp_path) as here:
        await here.builder.prepare(here.log)
        assert await here.build() == IMAGE
        assert here.builder.info["builder"].startswith("binderlet")
        assert here.pods.selectors == {
            "app.kubernetes.io/name=binderlet,app.kubernetes.io/component=builder,binderlet.instance=x"
        }
        # Its base is not the one that the pod told of.
        assert not here.builder.is_outdated(IMAGE)
        labels = {**IMAGE.labels, "binderlet.python": "3.11", "binderlet.base": "sha256:old"}
        assert here.builder.is_outdated(Image(NAME, "", labels=labels))
        assert not here.builder.is_outdated(Image(NAME, "", labels={"binderlet.image": "repo2docker"}))
        lines = await here.lines()
    assert [order.verb for order in orders] == ["prepare", "build"]
    assert (orders[1].commit, orders[1].image) == (COMMIT, NAME)
    assert "./a.ipynb" in files
    assert lines[0] == f"{MARK}b-0."
    assert lines[-2:] == ["fetched", "built"]


async def test_what_is_in_the_registry_is_not_built(tmp_path: Path) -> None:
    """Unless it is to be built anew."""

    async def script(it: Conversation) -> None:
        await it.order()
        await it.say(Built(IMAGE, {}))
        await it.end()

    images = FakeImages()
    images.images[NAME] = IMAGE
    async with world(script, tmp_path, images=images) as here:
        assert await here.build() == IMAGE
        assert not here.pods.started
        assert await here.build(refresh=True) == IMAGE
        assert here.pods.started == ["b-0"]


async def test_the_pods_error_is_ours(tmp_path: Path) -> None:
    """A build that fails does so with its own words, at once."""

    async def script(it: Conversation) -> None:
        await it.order()
        await it.say(Failed(BadRepository("apt.txt, line 2: no")))
        await it.end()

    async with world(script, tmp_path) as here:
        with pytest.raises(BadRepository, match=r"apt\.txt"):
            await here.build()
        assert here.pods.started == ["b-0"]


async def test_end_without_an_image(tmp_path: Path) -> None:
    """A pod that says it built nothing is an error."""

    async def script(it: Conversation) -> None:
        await it.order()
        await it.say(Built(None, {}))
        await it.end()

    async with world(script, tmp_path) as here:
        with pytest.raises(BuildFailed, match="nothing of an image"):
            await here.build()


async def test_connection_lost(tmp_path: Path) -> None:
    """The build goes on in its pod, and its log where it stopped."""
    seen: list[int] = []

    async def script(it: Conversation) -> None:
        order, _ = await it.order()
        seen.append(order.seen)
        await it.say(*(Line(str(number), Phase.BUILDING) for number in range(order.seen, 2 * len(seen))))
        if len(seen) == 2:
            await it.end(status=b'{"status": "Failure", "message": "the node is busy"}')
        if len(seen) == 3:
            await it.say(Built(IMAGE, {}))
            await it.end()

    async with world(script, tmp_path) as here:
        assert await here.build() == IMAGE
        lines = await here.lines()
    assert seen == [0, 2, 4]
    assert lines == [f"{MARK}b-0.", *map(str, range(6))]


async def test_new_control_plane_goes_on(tmp_path: Path) -> None:
    """One that finds a log of a build that was under way asks the same pod for what is missing."""
    orders: list[Order] = []

    async def script(it: Conversation) -> None:
        order, _ = await it.order()
        orders.append(order)
        await it.say(Line("three", Phase.BUILDING), Built(IMAGE, {}))
        await it.end()

    async with world(script, tmp_path) as here:
        here.pods.ready = {f"b-{number}": True for number in range(5)}
        for number, line in enumerate(("fetching", f"{MARK}b-4.", "one", "two"), start=-1):
            here.log.write(line, number=max(0, number))
        await here.log.flush()
        await here.build()
        lines = await here.lines()
    assert here.pods.started == ["b-4"]
    assert orders[0].seen == 2
    assert lines == ["fetching", f"{MARK}b-4.", "one", "two", "three"]


async def test_pod_goes_away(tmp_path: Path) -> None:
    """The build begins anew on another pod; after so many of them it ends, and says why."""

    async def script(it: Conversation) -> None:
        await it.order()
        await it.say(Line("begun", Phase.BUILDING))
        here.pods.restarts[it.pod] = here.pods.restarts.get(it.pod, 0) + 1

    async with world(script, tmp_path) as here:
        here.pods.ready = {f"b-{number}": True for number in range(3)}
        with pytest.raises(EngineUnavailable, match="begun 2 times"):
            await here.build()
        lines = await here.lines()
    assert len(set(here.pods.started)) == 2
    assert sum(line.startswith("The build was lost") for line in lines) == 2


async def test_program_ends_with_an_error(tmp_path: Path) -> None:
    """A program that broke is not asked again; what it said last is told."""

    async def script(it: Conversation) -> None:
        await it.order()
        await it.complain("killed")
        await it.end(137)

    async with world(script, tmp_path, attempts=1) as here:
        with pytest.raises(EngineUnavailable, match="code 137: killed"):
            await here.build()
        assert len(here.pods.started) == 1


async def test_connection_stays_away(tmp_path: Path) -> None:
    """A build whose connection does not come back is given up after a while."""

    async def script(it: Conversation) -> None:
        await it.order()

    async with world(script, tmp_path, attempts=1, reconnect=0.1) as here:
        here.pods.refuse = 503
        with pytest.raises(EngineUnavailable, match="cannot be opened"):
            await here.build()
        assert not here.pods.started


async def test_cluster_does_not_list_pods_meanwhile(tmp_path: Path) -> None:
    """While the cluster does not say what became of a pod, connecting to it goes on."""

    async def script(it: Conversation) -> None:
        await it.order()
        if len(here.pods.started) < 3:
            here.pods.away = True
            return
        await it.say(Built(IMAGE, {}))
        await it.end()

    async with world(script, tmp_path) as here:
        assert await here.build() == IMAGE


async def test_pod_is_gone_when_asked(tmp_path: Path) -> None:
    """A pod that went between look and start is another's turn."""

    async def script(it: Conversation) -> None:
        """Never run."""

    async with world(script, tmp_path, attempts=1) as here:
        here.pods.refuse = 404
        with pytest.raises(EngineUnavailable, match="is gone"):
            await here.build()


async def test_lacking_right(tmp_path: Path) -> None:
    """Without the right to start programs there is one clear error."""

    async def script(it: Conversation) -> None:
        """Never run."""

    async with world(script, tmp_path) as here:
        here.pods.refuse = 403
        with pytest.raises(EngineUnavailable, match="does not let binderlet") as caught:
            await here.build()
    assert "role" in caught.value.hint


async def test_busy_pod(tmp_path: Path) -> None:
    """A pod that builds for another control plane is left alone for a moment."""

    async def script(it: Conversation) -> None:
        if len(here.pods.started) == 1:
            await it.order()
            await it.say(Busy())
        else:
            await it.order()
            await it.say(Built(IMAGE, {}))
        await it.end()

    async with world(script, tmp_path) as here:
        here.pods.ready = {"b-0": True, "b-1": True}
        assert await here.build() == IMAGE
    assert len(set(here.pods.started)) == 2


@pytest.mark.parametrize("handover", [20.0, 0.0])
async def test_followed_by_an_earlier_control_plane(tmp_path: Path, handover: float) -> None:
    """A pod that does our build may not know yet that who followed it is gone; it is given time, but not for ever."""
    orders: list[Order] = []

    async def script(it: Conversation) -> None:
        order, _ = await it.order()
        orders.append(order)
        await it.say(Busy() if len(orders) == 1 else Built(IMAGE, {}))
        await it.end()

    async with world(script, tmp_path, handover=handover) as here:
        here.pods.ready = {"b-0": True, "b-1": True}
        here.log.write(f"{MARK}b-1.")
        here.log.write("one", number=1)
        assert await here.build() == IMAGE
    same = bool(handover)
    assert here.pods.started == ["b-1", "b-1" if same else "b-0"]
    assert [order.seen for order in orders] == [1, 1 if same else 0]


async def test_prepare_without_pods(tmp_path: Path) -> None:
    """A service starts although nothing can be built now."""

    async def script(it: Conversation) -> None:
        """Never run."""

    async with world(script, tmp_path, wait=0.0) as here:
        here.pods.ready = {}
        await here.builder.prepare(here.log)
        assert any("Nothing can be built" in line for line in await here.lines())


async def test_cancelled(tmp_path: Path) -> None:
    """The pod is told, and has the time to end what it does."""
    frames: list[bytes] = []

    async def script(it: Conversation) -> None:
        await it.order()
        await it.say(Line("begun", Phase.BUILDING))
        frames.append(await it.frame())
        await it.say(Line("ending", Phase.BUILDING))
        await it.end()

    async with world(script, tmp_path) as here:
        building = asyncio.gather(here.build())
        await eventually(lambda: bool(here.pods.started))
        await asyncio.sleep(0.1)
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        await eventually(lambda: frames == [CANCEL])
        assert not here.builder.pool.busy


async def test_closed(tmp_path: Path) -> None:
    """A control plane that ends leaves the build to the next one: the pod is told nothing."""
    ends: list[str] = []

    async def script(it: Conversation) -> None:
        await it.order()
        try:
            ends.append(repr(await it.frame()))
        except asyncio.IncompleteReadError:
            ends.append("lost")

    async with world(script, tmp_path) as here:
        building = asyncio.gather(here.build(), return_exceptions=True)
        await eventually(lambda: bool(here.pods.started))
        await asyncio.sleep(0.1)
        await here.builder.close()
        await eventually(lambda: ends == ["lost"])
        assert isinstance((await building)[0], asyncio.CancelledError)


async def test_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that never comes to an end does not hold a build for ever."""
    monkeypatch.setattr("binderlet.builder.cluster.builder.SPARE", 0.2)

    async def script(it: Conversation) -> None:
        await it.order()
        await it.frame()

    async with world(script, tmp_path, deadline=0.1) as here:
        with pytest.raises(BuildTimeout, match="given up"):
            await here.build()


def is_seen(log: BuildLog, number: int) -> bool:
    """Whether so many lines of the pod are there."""
    return last_seen(log.path)[1] == number


@pytest.mark.parametrize("has_log", [True, False])
async def test_second_restart(tmp_path: Path, has_log: bool) -> None:  # noqa: FBT001 - a parameter
    """However often a control plane is replaced, and whatever it says between, no line is left out or told twice."""
    seen: list[int] = []
    told = ["one", "two", "three", "four"]

    async def script(it: Conversation) -> None:
        order, _ = await it.order()
        seen.append(order.seen)
        if not has_log and len(seen) == 2:
            await it.say(Anew(), *(Line(word, Phase.BUILDING) for word in told[:3]))
        elif len(seen) == 3:
            await it.say(*(Line(word, Phase.BUILDING) for word in told[order.seen :]), Built(IMAGE, {}))
            await it.end()
        else:
            await it.say(*(Line(word, Phase.BUILDING) for word in told[order.seen : len(seen) + 1]))
        with contextlib.suppress(asyncio.IncompleteReadError):
            await it.frame()

    log = BuildLog(tmp_path / "log")
    for number, last in enumerate((2, 3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with world(script, folder) as here:
            here.log = log
            building = asyncio.gather(here.build(), return_exceptions=True)
            await eventually(partial(is_seen, log, last))
            await here.builder.close()
            await building
        log.write("Waiting for a builder pod...")
        log.write("Fetched again.", Phase.FETCHING)
    (tmp_path / "last").mkdir()
    async with world(script, tmp_path / "last") as here:
        here.log = log
        assert await here.build() == IMAGE
        lines = await here.lines()
    assert seen == [0, 2, 3]
    words = [line for line in lines if line in told]
    assert words == told if has_log else [*told[:2], *told]


async def test_checkout_that_cannot_be_sent(tmp_path: Path) -> None:
    """The build ends at once with tar's words, and nothing is built of half a repository."""
    ends: list[str] = []

    async def script(it: Conversation) -> None:
        try:
            await it.order()
        except asyncio.IncompleteReadError:
            ends.append("lost")

    async with world(script, tmp_path) as here:
        here.checkout.rename(tmp_path / "elsewhere")
        with pytest.raises(EngineUnavailable, match=r"could not be sent to a builder pod: .*No such file"):
            await here.build()
        await eventually(lambda: ends == ["lost"])
    assert here.pods.started == ["b-0"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"status": "Failure", "message": "exec: /opt/binderlet/bin/python: no such file or directory"}', 0),
        (b"", 127),
    ],
)
async def test_program_that_does_not_start(tmp_path: Path, status: bytes, code: int) -> None:
    """A pod of another image is an error at once, with the node's words and the image's setting."""

    async def script(it: Conversation) -> None:
        await it.end(code, status=status)

    async with world(script, tmp_path) as here:
        with pytest.raises(
            EngineUnavailable, match=r"does not start in builder pod b-0: .*(no such file|127)"
        ) as caught:
            await here.build()
    assert "builders.image" in caught.value.hint
    assert here.pods.started == ["b-0"]


async def test_what_is_no_message(tmp_path: Path) -> None:
    """What a program says beside its messages is shown, but is no line of the build."""
    seen: list[int] = []

    async def script(it: Conversation) -> None:
        order, _ = await it.order()
        seen.append(order.seen)
        if len(seen) == 1:
            await it.say(Line("one", Phase.BUILDING), b"stray\n")
            return
        await it.say(Built(IMAGE, {}))
        await it.end()

    async with world(script, tmp_path) as here:
        await here.build()
        lines = await here.lines()
    assert seen == [0, 1]
    assert lines[-2:] == ["one", "stray"]


async def test_server_goes_away(tmp_path: Path) -> None:
    """An API server that does not answer at all is waited for like a connection that was lost."""

    async def script(it: Conversation) -> None:
        await it.order()

    async with world(script, tmp_path, attempts=1, reconnect=0.1) as here:
        async with here.builder.pool.turn("r", tell=print) as pod:
            before, here.pods.script = here.builder._client.access, script
            here.builder._client.access = replace(before, server="http://127.0.0.1:1")
            with pytest.raises(EngineUnavailable):
                await here.builder.pool.find(pod.name)
        here.builder._client.access = before
        listed = here.builder.pool._pods

        async def then_gone() -> Sequence[BuilderPod]:
            found = await listed() if here.builder._client.access == before else ()
            here.builder._client.access = replace(before, server="http://127.0.0.1:1")
            return found

        here.builder.pool._pods = then_gone
        with pytest.raises(EngineUnavailable):
            await here.build()
        here.builder._client.access = before


async def test_settled_once() -> None:
    """What comes after a result changes nothing."""
    result: asyncio.Future[Image | None] = asyncio.get_running_loop().create_future()
    _settle(result, IMAGE)
    _settle(result, EngineUnavailable("late"))
    assert await result == IMAGE
