"""A look at a cluster before sessions run there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.config import Settings
from binderlet.deploy.cluster_check import Looked, check_cluster
from support.kube_api import KubeApi, access_to, kube_api


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    """An API server of our own, where everything is allowed."""
    async with kube_api() as served:
        yield served


async def looked(api: KubeApi) -> dict[str, Looked]:
    """Look at it."""
    client = KubernetesClient(access_to(api))
    found = [one async for one in check_cluster(client, Settings())]
    await client.close()
    return {one.what: one for one in found}


async def test_all_is_well(api: KubeApi) -> None:
    """A cluster that can run sessions passes, and nothing was made in it."""
    found = await looked(api)
    assert {what: one.ok for what, one in found.items()} == dict.fromkeys(
        ("version", "rights", "nodes", "admission"), True
    )
    assert "1.31.4+k3s1" in found["version"].message
    assert found["nodes"].message == "1 of 2 ready, for 220 pods"
    assert api.pods == {}


async def test_right_that_is_missing(api: KubeApi) -> None:
    """Each right that is missing is named."""
    api.denied = {("watch", "pods", ""), ("get", "pods", "log")}
    found = (await looked(api))["rights"]
    assert (found.ok, found.message) == (False, "may not watch pods, get pods/log in namespace binder")
    assert "role" in found.hint


async def test_account_that_sees_no_nodes(api: KubeApi) -> None:
    """An account with the rights of the chart does not see nodes; that is as it should be."""
    api.hidden_nodes = True
    found = (await looked(api))["nodes"]
    assert found.ok
    assert "as it should" in found.message


async def test_no_node_is_ready(api: KubeApi) -> None:
    """A cluster without a node that is ready fails."""
    api.ready_nodes = 0
    found = (await looked(api))["nodes"]
    assert not found.ok
    assert "describe nodes" in found.hint


async def test_session_that_would_be_refused(api: KubeApi) -> None:
    """A quota, or a policy, that lets no session in is told in the cluster's words."""
    api.quota = 0
    found = (await looked(api))["admission"]
    assert not found.ok
    assert "exceeded quota" in found.message


async def test_cluster_that_does_not_answer(api: KubeApi) -> None:
    """Where nothing answers, the rest is not asked."""
    await api.down()
    found = await looked(api)
    assert {what: one.ok for what, one in found.items()} == {"version": False}


async def test_server_that_fails(api: KubeApi) -> None:
    """A look that fails does not keep the others from being made."""
    api.broken_nodes = True
    found = await looked(api)
    assert not found["nodes"].ok
    assert found["admission"].ok
