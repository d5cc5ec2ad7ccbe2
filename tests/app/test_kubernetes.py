"""The parts of a service whose sessions run in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import yaml

from binderlet.app.kubernetes import adapted, kubernetes_machinery, make_hibernator, reference, tell_viewers
from binderlet.builder.delivery import DeliveringBuilder
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.fake import FakeEngine
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.errors import EngineUnavailable
from binderlet.events.bus import Story
from binderlet.launch.book import LaunchBook
from binderlet.sessions.hibernator import Hibernator
from binderlet.sessions.nodes import NodesHibernator
from support.kube_api import KubeApi, engine_on, kube_api


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    """An API server of our own."""
    async with kube_api() as served:
        yield served


def settings(**sections: object) -> Settings:
    """Give settings for a cluster."""
    return Settings.model_validate({"engine": {"kind": "kubernetes"}, **sections})


def test_cluster_decides_what_fits() -> None:
    """Unless told otherwise, this machine's size limits neither sessions nor starts."""
    by_itself = adapted(settings())
    assert (by_itself.limits.sessions, by_itself.session.start_concurrency) == (500, 16)
    told = adapted(settings(limits={"sessions": 7}, session={"start_concurrency": 3}))
    assert (told.limits.sessions, told.session.start_concurrency) == (7, 3)


def test_names_on_the_nodes() -> None:
    """Nodes fetch from the registry that images are kept in, unless a name says where, or they are put there."""
    kept = {"url": "https://registry.example.org/binder/"}
    assert reference(settings(registry=kept), "b/i-x:1") == "registry.example.org/binder/b/i-x:1"
    assert reference(settings(registry=kept), "other.example.org/i-x:1") == "other.example.org/i-x:1"
    assert reference(settings(registry=kept, kubernetes={"delivery": "import"}), "b/i-x:1") == "b/i-x:1"


def kubeconfig(folder: Path, api: KubeApi) -> str:
    """Write a kubeconfig file for a server."""
    path = folder / "kubeconfig"
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "namespace": "binder"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.docker
@pytest.mark.parametrize("delivery", ["push", "import", "none", "registry"])
async def test_machinery(api: KubeApi, tmp_path: Path, delivery: str) -> None:
    """Sessions go to the cluster, builds to this machine's engine, and images from here to there."""
    path = await asyncio.to_thread(kubeconfig, tmp_path, api)
    way: dict[str, object] = (
        {"kubernetes": {"kubeconfig": path}, "registry": {"url": "http://127.0.0.1:9/b/"}}
        if delivery == "registry"
        else {
            "kubernetes": {"kubeconfig": path, "delivery": delivery},
            "builder": {"image_prefix": "localhost:5000/i-"},
        }
    )
    chosen = settings(**way)
    machinery = await kubernetes_machinery(chosen, NetworkEnvironment(), tmp_path)
    assert machinery.description.startswith(f"Kubernetes 1.31.4+k3s1 at http://127.0.0.1:{api.port}, builds by ")
    assert isinstance(machinery.builder, DeliveringBuilder) == (delivery != "none")
    assert isinstance(machinery.engine, KubernetesEngine)
    assert machinery.engine.reference("i-x:1") == ("127.0.0.1:9/b/i-x:1" if delivery == "registry" else "i-x:1")
    await machinery.close()
    await machinery.engine.close()


async def test_cluster_that_is_away(api: KubeApi, tmp_path: Path) -> None:
    """A cluster that does not answer is told at once, and nothing stays open."""
    path = await asyncio.to_thread(kubeconfig, tmp_path, api)
    await api.down()
    chosen = settings(kubernetes={"kubeconfig": path, "delivery": "none"})
    with pytest.raises(EngineUnavailable):
        await kubernetes_machinery(chosen, NetworkEnvironment(), tmp_path)


@dataclass
class _Launch:
    ended_at: float = 0.0
    story: Story = field(default_factory=Story)


@dataclass
class _Book:
    launches: dict[str, _Launch]

    def find(self, launch_id: str) -> _Launch | None:
        """Give a launch."""
        return self.launches.get(launch_id)


async def test_viewers_are_told(api: KubeApi) -> None:
    """What the engine tells is in the story of its launch, with the place in the queue; ended ones hear no more."""
    engine: KubernetesEngine = engine_on(api)
    book = _Book({"waits": _Launch(), "ended": _Launch(ended_at=1.0)})
    tell_viewers(engine, cast("LaunchBook", book))
    engine.tell("waits", "No room", 3)
    engine.tell("waits", "Starting", 0)
    engine.tell("ended", "Late", 0)
    engine.tell("unknown", "Late", 0)
    for launch in book.launches.values():
        launch.story.close()
    told = [event.data async for _, event in book.launches["waits"].story.follow()]
    assert told == [
        b'{"phase":"launching","message":"No room\\n","queue_position":3}',
        b'{"phase":"launching","message":"Starting\\n"}',
    ]
    assert [event async for event in book.launches["ended"].story.follow()] == []
    await engine.close()


async def test_who_hibernates(api: KubeApi) -> None:
    """Nodes' helpers push sessions out where the settings name them; else this machine does it for its own."""
    engine = engine_on(api)
    helpers = settings(kubernetes={"agents_namespace": "binder"})
    made = [
        make_hibernator(one, chosen, dict, dict, lambda _sight: None)
        for one, chosen in ((engine, helpers), (engine, settings()), (FakeEngine(), helpers))
    ]
    assert [type(one) for one in made] == [NodesHibernator, Hibernator, Hibernator]
    for one in made:
        one.close()
    await engine.close()


def test_other_engines_tell_nothing() -> None:
    """An engine that is no cluster is left alone."""
    tell_viewers(FakeEngine(), cast("LaunchBook", _Book({})))
