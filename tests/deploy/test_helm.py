"""The chart in a real cluster: installed, upgraded, rolled back; and the account that it makes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.config import Settings
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.deploy.cluster_check import check_cluster
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.errors import EngineUnavailable, Full
from support.cluster import Cluster, cluster
from support.engine_harness import SPEC, spec_of
from support.visit import wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = [
    pytest.mark.kube,
    pytest.mark.docker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed"),
]


@pytest.fixture(scope="module")
def kube() -> Iterator[Cluster]:
    """A namespace for sessions."""
    with cluster() as ours:
        yield ours


class Chart:
    """A release of the chart whose sessions run in a namespace that is there."""

    def __init__(self, kube: Cluster) -> None:
        self.name = kube.namespace
        self._kube = kube

    def helm(self, *arguments: str) -> str:
        """Run helm and give what it prints."""
        command = ["helm", *arguments, "--namespace", self.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def put(self, **values: object) -> None:
        """Install it, or upgrade it."""
        chosen = {"sessions.namespace": self.name, "sessions.createNamespace": "false", "instance": self.name, **values}
        pairs = [part for key, value in chosen.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]
        self.helm("upgrade", "--install", "sessions", str(DEPLOY / "helm" / "binderlet"), *pairs)

    def pods_allowed(self) -> str:
        """Give the quota's number of pods."""
        return self._kube.kubectl("get", "resourcequota", f"{self.name}-sessions", "-o", "jsonpath={.spec.hard.pods}")


@pytest.fixture(scope="module")
def chart(kube: Cluster) -> Iterator[Chart]:
    """The chart, with room for two pods."""
    release = Chart(kube)
    release.put(sessions__quota__pods=2)
    yield release
    release.helm("uninstall", "sessions")


@pytest.fixture(scope="module")
def settings(kube: Cluster, chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> KubernetesSettings:
    """Settings with the account that the chart made, and nothing more."""
    path = tmp_path_factory.mktemp("account") / "kubeconfig"
    wait_for(
        lambda: kube.kubectl("get", "secret", f"{chart.name}-token", "-o", "jsonpath={.data.token}"),
        seconds=30,
        what="the account's token",
    )
    command = [str(DEPLOY / "manifests" / "kubeconfig"), chart.name, chart.name]
    path.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return KubernetesSettings(
        kubeconfig=str(path),
        namespace=kube.namespace,
        pull_policy="Never",
        priority_class=f"{chart.name}-session",
    )


async def engine_with(settings: KubernetesSettings, instance: str) -> KubernetesEngine:
    """Open an engine."""
    access = await asyncio.to_thread(find_access, settings)
    return KubernetesEngine(KubernetesClient(access), EngineSettings(), settings, instance)


async def test_rights_are_enough(kube: Cluster, chart: Chart, settings: KubernetesSettings) -> None:
    """With the chart's account alone sessions start, are seen, print, end; and its quota refuses one too many."""
    engine = await engine_with(settings, chart.name)
    await engine.prepare()
    watch = engine.watch()
    session = await engine.start(SPEC)
    assert await engine.list() == [session]
    await engine.start(spec_of("second"))
    with pytest.raises(Full, match="exceeded quota"):
        await engine.start(spec_of("third"))
    async with asyncio.timeout(30):
        while "last words" not in await engine.logs(SPEC.id):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
    priority = await asyncio.to_thread(kube.kubectl, "get", "pods", "-o", "jsonpath={.items[*].spec.priority}")
    assert priority == "-10 -10"
    for name in (SPEC.id, "second"):
        await engine.stop(name)
    assert {(await asyncio.wait_for(anext(watch), 30)).id for _ in range(2)} == {SPEC.id, "second"}
    await engine.close()


async def test_rights_are_not_more(settings: KubernetesSettings) -> None:
    """With the chart's account neither other namespaces' pods nor secrets can be read."""
    client = KubernetesClient(await asyncio.to_thread(find_access, settings))
    elsewhere = await engine_with(settings.model_copy(update={"namespace": "kube-system"}), "x")
    with pytest.raises(EngineUnavailable, match="cannot list"):
        await elsewhere.prepare()
    await elsewhere.close()
    for path in (f"api/v1/namespaces/{settings.namespace}/secrets", "api/v1/nodes"):
        with pytest.raises(Exception, match="403 Forbidden"):
            await client.call("GET", path)
    await client.close()


async def test_check_is_content(settings: KubernetesSettings) -> None:
    """A look at the cluster with that account finds nothing wrong."""
    client = KubernetesClient(await asyncio.to_thread(find_access, settings))
    all_settings = Settings(kubernetes=settings)
    found = [one async for one in check_cluster(client, all_settings)]
    await client.close()
    assert [one for one in found if one.level != "ok"] == []


def test_upgrade_and_rollback(chart: Chart) -> None:
    """An upgrade changes what it should, and a rollback puts it back."""
    assert chart.pods_allowed() == "2"
    chart.put(sessions__quota__pods=7, sessions__protectFromDrain="false")
    assert chart.pods_allowed() == "7"
    chart.helm("rollback", "sessions", "1")
    assert chart.pods_allowed() == "2"
