"""A look at a cluster before sessions run there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.config import Settings
from binderlet.deploy.cluster_check import check_cluster, look_at_cluster
from binderlet.finding import Finding
from support.kube_api import KubeApi, access_to, kube_api


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    """An API server of our own, where everything is allowed."""
    async with kube_api() as served:
        yield served


async def looked(api: KubeApi, settings: Settings | None = None) -> dict[str, Finding]:
    """Look at it."""
    client = KubernetesClient(access_to(api))
    found = [one async for one in check_cluster(client, settings or Settings())]
    await client.close()
    return {one.check: one for one in found}


async def test_all_is_well(api: KubeApi) -> None:
    """A cluster that can run sessions passes, and nothing was made in it."""
    found = await looked(api)
    assert {what: one.level for what, one in found.items()} == dict.fromkeys(
        ("cluster", "rights", "nodes", "admission", "images"), "ok"
    )
    assert "1.31.4+k3s1" in found["cluster"].seen
    assert found["nodes"].seen == "1 of 2 ready, for 220 pods"
    assert api.pods == {}


async def test_images_without_a_way(api: KubeApi) -> None:
    """A service that would not start for want of a registry that nodes reach is told so before."""
    service = {"engine": {"kind": "kubernetes"}}
    found = (await looked(api, Settings.model_validate(service)))["images"]
    assert (found.level, "registry.url is empty" in found.seen, "registry.url" in found.mend) == ("fail", True, True)
    imported = Settings.model_validate({**service, "kubernetes": {"delivery": "import"}})
    assert (await looked(api, imported))["images"].level == "ok"


async def test_right_that_is_missing(api: KubeApi) -> None:
    """Each right that is missing is named."""
    api.denied = {("watch", "pods", ""), ("get", "pods", "log")}
    found = (await looked(api))["rights"]
    assert (found.level, found.seen) == ("fail", "may not watch pods, get pods/log in namespace binder")
    assert "role" in found.mend


async def test_account_that_sees_no_nodes(api: KubeApi) -> None:
    """An account with the rights of the chart does not see nodes; that is as it should be."""
    api.hidden_nodes = True
    found = (await looked(api))["nodes"]
    assert found.level == "ok"
    assert "as it should" in found.seen


async def test_no_node_is_ready(api: KubeApi) -> None:
    """A cluster without a node that is ready fails."""
    api.ready_nodes = 0
    found = (await looked(api))["nodes"]
    assert found.level == "fail"
    assert "describe nodes" in found.mend


async def test_session_that_would_be_refused(api: KubeApi) -> None:
    """A quota, or a policy, that lets no session in is told in the cluster's words."""
    api.quota = 0
    found = (await looked(api))["admission"]
    assert found.level == "fail"
    assert "exceeded quota" in found.seen


async def test_cluster_that_does_not_answer(api: KubeApi) -> None:
    """Where nothing answers, the rest is not asked."""
    await api.down()
    found = await looked(api)
    assert {what: one.level for what, one in found.items()} == {"cluster": "fail"}


async def test_server_that_fails(api: KubeApi) -> None:
    """A look that fails does not keep the others from being made."""
    api.broken_nodes = True
    found = await looked(api)
    assert found["nodes"].level == "fail"
    assert found["admission"].level == "ok"


async def test_by_the_settings(api: KubeApi, tmp_path: Path) -> None:
    """The cluster is found as the service finds it; where none is known, that is what is found."""
    kubeconfig = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "binder"}}],
        "clusters": [{"name": "c", "cluster": {"server": access_to(api).server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    await asyncio.to_thread((tmp_path / "config").write_text, yaml.safe_dump(kubeconfig))
    chosen = Settings.model_validate({"kubernetes": {"kubeconfig": str(tmp_path / "config")}})
    found = await asyncio.to_thread(look_at_cluster, chosen)
    assert [one.check for one in found] == ["cluster", "rights", "nodes", "admission", "images"]
    none = Settings.model_validate({"kubernetes": {"kubeconfig": str(tmp_path / "none")}})
    (missing,) = await asyncio.to_thread(look_at_cluster, none)
    assert (missing.check, missing.level) == ("cluster", "fail")
    assert "none" in missing.seen
