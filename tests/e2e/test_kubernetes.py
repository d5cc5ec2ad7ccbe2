"""The whole service with sessions in a real cluster: built here, imported there, used through HAProxy, ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.cluster import Cluster, cluster, import_command
from support.gate import Gate, gated_kubeconfig
from support.service import Forge, LiveService, Serve, git_spec
from support.visit import Visit, wait_for

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "binderlet"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kube,
    pytest.mark.docker,
    pytest.mark.haproxy,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def kube() -> Iterator[Cluster]:
    """A namespace of a cluster that takes images."""
    with cluster() as ours:
        if not import_command():
            pytest.skip("KUBE_IMPORT names no command that puts images on the cluster's nodes")
        yield ours


def settings(kube: Cluster, **more: object) -> dict[str, Any]:
    """Give the settings of a service on it."""
    return {
        "engine__kind": "kubernetes",
        "kubernetes__kubeconfig": os.environ["KUBECONFIG"],
        "kubernetes__namespace": kube.namespace,
        "kubernetes__delivery": "import",
        "kubernetes__import_command": import_command(),
        **more,
    }


@pytest.fixture(scope="module")
def gated(kube: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, Path]]:
    """A way to the API server that can be closed, and a kubeconfig file that takes it."""
    with gated_kubeconfig(Path(os.environ["KUBECONFIG"]), tmp_path_factory.mktemp("gate")) as made:
        yield made


@pytest.fixture(scope="module")
def gate(gated: tuple[Gate, Path]) -> Gate:
    """The way to the API server that the service takes."""
    return gated[0]


@pytest.fixture(scope="module")
def service(serve: Serve, kube: Cluster, gated: tuple[Gate, Path]) -> Iterator[LiveService]:
    """A service whose sessions are its pods; quiet ones are pushed out soon."""
    chosen = settings(kube, hibernate__after="5s", hibernate__every="1s", kubernetes__kubeconfig=str(gated[1]))
    with serve(**chosen) as running:
        yield running


@pytest.fixture(scope="module")
def spec(forge: Forge) -> str:
    """A repository."""
    _, url = forge.repository({"README.md": "hello", "data.csv": "1,2\n"})
    return git_spec(url)


def phases(kube: Cluster, service: LiveService) -> list[str]:
    """Give the phases of the service's pods."""
    return [pod["status"]["phase"] for pod in kube.pods(service.name)]


def test_built_imported_launched_used_and_ended(kube: Cluster, service: LiveService, spec: str) -> None:
    """A repository becomes a pod that answers through HAProxy, its kernel too; what ends it leaves nothing."""
    visit = Visit(service.ready(spec, timeout=280))
    assert b"jupyter-config-data" in visit.get("lab")
    assert visit.run_cell("print(open('data.csv').read())") == "1,2\n\n"
    assert phases(kube, service) == ["Running"]
    assert service.admin("DELETE", f"/sessions/{visit.id}")[0] == 204
    wait_for(lambda: not kube.pods(service.name), seconds=30, what="the pod is gone")
    assert visit.ask("GET", "lab")[0] != 200


def test_control_plane_is_killed(kube: Cluster, service: LiveService, spec: str) -> None:
    """A new control plane finds the pods of one that was killed; visitors notice nothing."""
    visit = Visit(service.ready(spec, timeout=280))
    service.kill()
    visit.get("api/status")
    service.start()
    wait_for(lambda: [one["id"] for one in service.sessions()] == [visit.id], seconds=30, what="it was found")
    visit.get("api/status")
    service.admin("DELETE", f"/sessions/{visit.id}")


def test_api_server_gone_for_a_minute(kube: Cluster, gate: Gate, service: LiveService, spec: str) -> None:
    """Without the API server sessions go on, launches fail and say so; with it again both are as they should be."""
    stays, goes = (Visit(service.ready(spec, timeout=280)) for _ in range(2))
    names = {pod["metadata"]["annotations"]["binderlet.session"]: pod["metadata"]["name"] for pod in kube.pods()}
    gate.close()
    back = time.monotonic() + 60
    kube.kubectl("delete", "pod", names[goes.id], "--grace-period=0", "--force")
    failed = service.launch(spec, timeout=280)[-1]
    assert (failed["phase"], failed["code"]) == ("failed", "engine_unavailable")
    while time.monotonic() < back:
        stays.get("api/status")
        assert service.get("health")[0] in {200, 503}
        time.sleep(1)
    gate.open()
    wait_for(lambda: [one["id"] for one in service.sessions()] == [stays.id], seconds=60, what="it is seen again")
    assert stays.run_cell("print(6 * 7)") == "42\n"
    another = Visit(service.ready(spec, timeout=280))
    another.get("api/status")
    for visit in (stays, another):
        service.admin("DELETE", f"/sessions/{visit.id}")


def test_pod_deleted_by_an_operator(kube: Cluster, service: LiveService, spec: str) -> None:
    """What ``kubectl delete pod`` ends is ended here, too."""
    service.ready(spec, timeout=280)
    kube.kubectl("delete", "pods", "-l", f"binderlet.instance={service.name}", "--wait=false")
    wait_for(lambda: not service.sessions(), seconds=30, what="the session is gone")


def test_hibernated(kube: Cluster, service: LiveService, spec: str) -> None:
    """On the control plane's own node a quiet session is pushed out, and answers again; elsewhere it is left alone."""
    visit = Visit(service.ready(spec, timeout=280))
    status = service.admin("GET", "/status")[1]
    if status["hibernation_off"]:
        pytest.skip(f"sessions are not hibernated here: {status['hibernation_off']}")
    wait_for(lambda: service.admin("GET", "/status")[1]["hibernated"] == 1, seconds=120, what="it is hibernated")
    visit.get("api/status")
    service.admin("DELETE", f"/sessions/{visit.id}")


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_hibernated_by_the_nodes_helper(kube: Cluster, service: LiveService, serve: Serve, spec: str) -> None:
    """The chart's helper on each node pushes quiet sessions out, whichever node they are on."""
    visit = Visit(service.ready(spec, timeout=280))
    service.admin("DELETE", f"/sessions/{visit.id}")
    token = uuid4().hex
    values = {
        "instance": service.name,
        "sessions.namespace": kube.namespace,
        "sessions.createNamespace": "false",
        "nodeAgent.enabled": "true",
        "nodeAgent.token": token,
        "nodeAgent.image": visit.image,
        "nodeAgent.python": "/usr/bin/python3",
    }
    chosen = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    helm = ("helm", "--namespace", kube.namespace)
    subprocess.run([*helm, "install", "helpers", str(CHART), *chosen], check=True, capture_output=True)
    try:
        helpers = {"kubernetes__agents_namespace": kube.namespace, "kubernetes__agents_token": token}
        kube.kubectl("rollout", "status", f"daemonset/{service.name}-node-agent", "--timeout=60s")
        with serve(**settings(kube, hibernate__after="5s", hibernate__every="1s", **helpers)) as other:
            visit = Visit(other.ready(spec, timeout=280))
            wait_for(lambda: other.admin("GET", "/status")[1]["memory"], seconds=60, what="the node was looked at")
            if why := other.admin("GET", "/status")[1]["hibernation_off"]:
                pytest.skip(f"sessions are not hibernated there: {why}")
            wait_for(lambda: other.admin("GET", "/status")[1]["hibernated"] == 1, seconds=120, what="it is hibernated")
            visit.get("api/status")
    finally:
        subprocess.run([*helm, "uninstall", "helpers"], check=True, capture_output=True)


def test_culled(kube: Cluster, serve: Serve, spec: str) -> None:
    """A session that nobody uses ends, and its pod is gone."""
    with serve(**settings(kube, cull__idle="2s", cull__every="1s")) as service:
        service.ready(spec, timeout=280)
        assert phases(kube, service) == ["Running"]
        wait_for(lambda: not kube.pods(service.name), seconds=60, what="the pod is gone")


def test_full_cluster_is_a_queue(kube: Cluster, serve: Serve, spec: str) -> None:
    """A session that no node has room for waits, and its viewer is told its place; in the end it is refused."""
    wanted = settings(kube, kubernetes__memory_request="4T", session__memory="4T", kubernetes__room_timeout="8s")
    with serve(**wanted) as service:
        events = service.launch(spec, timeout=280)
    assert next(event for event in events if "no room" in str(event.get("message")))["queue_position"] == 1
    assert (events[-1]["phase"], events[-1]["code"]) == ("failed", "full")


def test_quota(kube: Cluster, service: LiveService, spec: str) -> None:
    """A namespace whose quota is used up refuses the launch, and says when to come back."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    kube.apply(quota)
    try:
        wait_for(
            lambda: kube.kubectl("get", "resourcequota", "none", "-o", "jsonpath={.status.hard.pods}") == "0",
            seconds=30,
            what="the quota counts",
        )
        ended = service.launch(spec, timeout=280)[-1]
    finally:
        kube.kubectl("delete", "resourcequota", "none")
    assert (ended["phase"], ended["code"]) == ("failed", "full")
    assert "quota" in ended["message"]
