"""Looks at a cluster before sessions run there: does it answer, are there rights, would a session be let in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from binderlet.clients.kubernetes import KubernetesClient, KubernetesError, cluster_errors
from binderlet.clients.kubernetes_access import find_access
from binderlet.config.schema import Settings
from binderlet.engine.kubernetes_spec import pod_request
from binderlet.errors import BinderletError
from binderlet.finding import Finding
from binderlet.images.reach import check_reach
from binderlet.model import Limits, SessionSpec

RIGHTS = (
    ("create", "pods", ""),
    ("get", "pods", ""),
    ("list", "pods", ""),
    ("watch", "pods", ""),
    ("delete", "pods", ""),
    ("get", "pods", "log"),
    ("list", "events", ""),
)
"""Verb, resource and subresource of all that the engine does."""
RIGHTS_HINT = "Give the account the role that the Helm chart makes, or the one in the plain manifests."
FORBIDDEN = 403


def look_at_cluster(settings: Settings) -> list[Finding]:
    """Look at the cluster of these settings; blocks, and starts an event loop of its own."""
    return asyncio.run(_look(settings))


async def _look(settings: Settings) -> list[Finding]:
    try:
        client = KubernetesClient(await asyncio.to_thread(find_access, settings.kubernetes))
    except BinderletError as error:
        return [Finding("cluster", "fail", error.message, error.hint)]
    try:
        return [found async for found in check_cluster(client, settings)]
    finally:
        await client.close()


async def check_cluster(client: KubernetesClient, settings: Settings) -> AsyncIterator[Finding]:
    """Yield what was found, one thing after the other; nothing in the cluster is changed."""
    looks = (cluster, rights, nodes, admission, images)
    for look in looks:
        try:
            with cluster_errors():
                found = await look(client, settings)
        except BinderletError as error:
            found = Finding(look.__name__, "fail", error.message, error.hint)
        yield found
        if look is cluster and found.level == "fail":
            return


async def cluster(client: KubernetesClient, _settings: Settings) -> Finding:
    """See whether it answers."""
    return Finding("cluster", "ok", f"{await client.version()} at {client.access.server}")


async def rights(client: KubernetesClient, _settings: Settings) -> Finding:
    """See whether our account may do what the engine does."""
    missing = []
    for verb, resource, part in RIGHTS:
        asked = {"namespace": client.access.namespace, "verb": verb, "resource": resource, "subresource": part}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        answer = await client.call("POST", "apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        if not answer["status"].get("allowed"):
            missing.append(f"{verb} {resource}{part and '/' + part}")
    where = f"in namespace {client.access.namespace}"
    if missing:
        return Finding("rights", "fail", f"may not {', '.join(missing)} {where}", RIGHTS_HINT)
    return Finding("rights", "ok", f"all that is needed {where}")


async def nodes(client: KubernetesClient, _settings: Settings) -> Finding:
    """See which nodes are ready, where our account may know that."""
    try:
        answer = await client.call("GET", "api/v1/nodes")
    except KubernetesError as error:
        if error.status != FORBIDDEN:
            raise
        return Finding("nodes", "ok", "not known: this account sees sessions only, as it should")
    ready = [
        node["metadata"]["name"]
        for node in answer["items"]
        if any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or ())
    ]
    room = sum(int(node["status"]["allocatable"]["pods"]) for node in answer["items"])
    seen = f"{len(ready)} of {len(answer['items'])} ready, for {room} pods"
    if not ready:
        return Finding("nodes", "fail", seen, "'kubectl describe nodes' says what they lack.")
    return Finding("nodes", "ok", seen)


async def admission(client: KubernetesClient, settings: Settings) -> Finding:
    """See whether a session would be let in, by limits, quota and policies; none is made."""
    session = settings.session
    spec = SessionSpec(
        id="binderlet-check",
        token="",
        image="binderlet/check",
        command=("true",),
        environment={},
        limits=Limits(session.memory, session.cpus, session.pids),
        launch_id="",
        provider="",
        spec="",
        repo_url="",
        created_at=time.time(),
    )
    body = pod_request(spec, settings.engine, settings.kubernetes, settings.server.instance)
    path = f"api/v1/namespaces/{client.access.namespace}/pods"
    await client.call("POST", path, params={"dryRun": "All"}, body=body)
    return Finding("admission", "ok", "a session would be let in")


async def images(_client: KubernetesClient, settings: Settings) -> Finding:
    """See whether nodes have a way to what is built, where these settings are already of a service there."""
    if settings.engine.kind != "kubernetes":
        return Finding("images", "ok", "not known: engine.kind is not kubernetes yet")
    check_reach(settings)
    return Finding("images", "ok", "the settings name a way to the nodes")
