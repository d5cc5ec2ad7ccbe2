"""Looks at a cluster before sessions run there: does it answer, are there rights, would a session be let in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from binderlet.clients.kubernetes import KubernetesClient, KubernetesError, cluster_errors
from binderlet.config.schema import Settings
from binderlet.engine.kubernetes_spec import pod_request
from binderlet.errors import BinderletError
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


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that was looked at."""

    what: str
    ok: bool
    message: str
    hint: str = ""


async def check_cluster(client: KubernetesClient, settings: Settings) -> AsyncIterator[Looked]:
    """Yield what was found, one thing after the other; nothing in the cluster is changed."""
    looks = (version, rights, nodes, admission)
    for look in looks:
        try:
            with cluster_errors():
                found = await look(client, settings)
        except BinderletError as error:
            found = Looked(look.__name__, ok=False, message=error.message, hint=error.hint)
        yield found
        if look is version and not found.ok:
            return


async def version(client: KubernetesClient, _settings: Settings) -> Looked:
    """See whether it answers."""
    return Looked("version", ok=True, message=f"{await client.version()} at {client.access.server}")


async def rights(client: KubernetesClient, _settings: Settings) -> Looked:
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
        return Looked("rights", ok=False, message=f"may not {', '.join(missing)} {where}", hint=RIGHTS_HINT)
    return Looked("rights", ok=True, message=f"all that is needed {where}")


async def nodes(client: KubernetesClient, _settings: Settings) -> Looked:
    """See which nodes are ready, where our account may know that."""
    try:
        answer = await client.call("GET", "api/v1/nodes")
    except KubernetesError as error:
        if error.status != FORBIDDEN:
            raise
        return Looked("nodes", ok=True, message="not known: this account sees sessions only, as it should")
    ready = [
        node["metadata"]["name"]
        for node in answer["items"]
        if any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or ())
    ]
    room = sum(int(node["status"]["allocatable"]["pods"]) for node in answer["items"])
    message = f"{len(ready)} of {len(answer['items'])} ready, for {room} pods"
    return Looked("nodes", bool(ready), message, "" if ready else "'kubectl describe nodes' says what they lack.")


async def admission(client: KubernetesClient, settings: Settings) -> Looked:
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
    return Looked("admission", ok=True, message="a session would be let in")
