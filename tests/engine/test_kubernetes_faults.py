"""The engine on a real cluster when that breaks: nodes, disks, registries, accounts, connections."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from binderlet.clients import kubernetes as client_module
from binderlet.clients.kubernetes import KubernetesClient, KubernetesError
from binderlet.clients.kubernetes_access import find_access
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.engine.kubernetes_spec import pod_name, pod_request
from binderlet.errors import EngineUnavailable, ImageMissing, LaunchFailed
from binderlet.model import Session, SessionState
from binderlet.tasks import Tasks
from support.cluster import Cluster, node
from support.engine_harness import SPEC, spec_of
from support.engines import fresh_name
from support.eventually import eventually
from support.gate import Gate, gated_kubeconfig
from support.service import free_port

pytestmark = [pytest.mark.kube, pytest.mark.timeout(240)]
MINUTES = 180.0
"""Seconds: no test is about how long a cluster takes to notice something."""
Open = Callable[..., Awaitable[KubernetesEngine]]


@pytest.fixture
async def open_engine(kube: Cluster) -> AsyncIterator[Open]:
    """Open engines on it as an instance of their own, with some settings."""
    opened: list[KubernetesEngine] = []
    instance = fresh_name()

    async def run(**settings: object) -> KubernetesEngine:
        given = {"namespace": kube.namespace, "pull_policy": "Never", **settings}
        chosen = KubernetesSettings.model_validate(given)
        client = KubernetesClient(await asyncio.to_thread(find_access, chosen))
        opened.append(KubernetesEngine(client, EngineSettings(), chosen, instance))
        return opened[-1]

    yield run
    for engine in opened:
        await engine.close()
    await asyncio.to_thread(
        kube.kubectl, "delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false", check=False
    )


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[tuple[Gate, Path]]:
    """A way to the API server that can be cut, and a kubeconfig file that takes it."""
    with gated_kubeconfig(Path(os.environ["KUBECONFIG"]), tmp_path) as made:
        yield made


async def ending(watch: AsyncIterator[Session]) -> Session:
    """Wait for the next session that ends."""
    return await asyncio.wait_for(anext(watch), MINUTES)


async def kill(kube: Cluster, engine: KubernetesEngine, session: Session) -> None:
    """End a session's program from outside."""
    name = next(name for name, pod in engine.mirror.pods.items() if pod.session.id == session.id)
    await asyncio.to_thread(kube.kubectl, "exec", name, "--", "sh", "-c", "kill -9 -1", check=False)


@asynccontextmanager
async def second_node() -> AsyncIterator[None]:
    """Have a node without a kubelet that is ready, but takes no pods: a cluster with no ready node evicts nothing."""
    client = KubernetesClient(await asyncio.to_thread(find_access, KubernetesSettings()))
    name, path = fresh_name(), "api/v1/nodes"
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await client.call("POST", path, body={**body, "spec": {"unschedulable": True}})

    async def beat() -> None:
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
            await client.call("PUT", f"{path}/{name}/status", body={**body, "status": {"conditions": [ready]}})
            await asyncio.sleep(2)

    beating = Tasks("second node")
    beating.start(beat(), name="beat")
    try:
        yield
    finally:
        await beating.close()
        await client.call("DELETE", f"{path}/{name}")
        await client.close()


async def test_node_that_is_not_ready(open_engine: Open) -> None:
    """A node that falls silent takes its sessions with it, and new ones wait in line until it is back."""
    parts = node()
    # A node that is back loses its two taints one after the other: a pod that comes between must outlast the second.
    engine = await open_engine(node_lost_after=5)
    told: list[tuple[str, int]] = []
    engine.tell = lambda _launch, line, place: told.append((line, place))
    watch = engine.watch()
    await engine.start(SPEC)
    async with second_node():
        with parts.frozen("kubelet"):
            ended = await ending(watch)
            assert (ended.id, ended.state) == (SPEC.id, SessionState.ENDED)
            assert "the cluster removed it" in ended.ended_because
            waiting = asyncio.gather(engine.start(spec_of("later")))
            first_in_line = ("The cluster has no room at the moment. You are number 1 in the queue...", 1)
            await eventually(lambda: first_in_line in told, seconds=MINUTES)
        [later] = await waiting
    assert later.state is SessionState.RUNNING


async def test_evicted_by_its_node(open_engine: Open) -> None:
    """A session that fills more of its node's disk than it may is evicted, and the reason can be read."""
    engine = await open_engine()
    watch = engine.watch()
    filling = ("sh", "-c", "dd if=/dev/zero of=/tmp/much bs=1M count=60; exec sleep 600")
    limits = replace(SPEC.limits, disk=20 * 1024**2)
    await engine.start(replace(spec_of("filling", filling), limits=limits))
    ended = await ending(watch)
    assert ended.id == "filling"
    assert ended.ended_because.startswith("the cluster ended it: Evicted: ")
    assert [session.state for session in await engine.list()] == [SessionState.ENDED]


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run an empty registry where the node reaches it; gives its host and port."""
    node()
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    place = f"{os.environ['KUBE_HOST']}:{free_port()}"
    subprocess.run([os.environ["KUBE_NODE"], "trust", place], check=True, capture_output=True)
    settings = folder / "registry.yml"
    content = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": place},
    }
    settings.write_text(yaml.safe_dump(content))
    with subprocess.Popen(["docker-registry", "serve", settings], stdout=subprocess.DEVNULL) as serving:
        try:
            yield place
        finally:
            serving.terminate()


async def test_image_that_cannot_be_pulled(open_engine: Open, tmp_path: Path) -> None:
    """A registry without the image says so at once; one that does not answer is tried again, then it is an error."""
    engine = await open_engine(pull_policy="IfNotPresent", pull_patience=3)
    with registry(tmp_path) as place:
        image = f"{place}/none:1"
        async with asyncio.timeout(MINUTES):
            while True:
                try:
                    await engine.start(replace(spec_of("missing"), image=image))
                except ImageMissing as error:
                    assert "not found" in error.message  # noqa: PT017 - until the registry has come up
                    break
                except LaunchFailed:
                    continue
    told: list[str] = []
    engine.tell = lambda _launch, line, _place: told.append(line)
    with pytest.raises(LaunchFailed, match="refused"):
        await engine.start(replace(spec_of("silent"), image=image))
    assert any("Fetching the image failed, trying again" in line for line in told)
    assert await engine.list() == []


async def test_watch_that_is_cut_or_ends(
    kube: Cluster, open_engine: Open, gate: tuple[Gate, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a watch was cut all is read again; one that the server ended goes on; what ends is told once each time."""
    monkeypatch.setattr(client_module, "WATCH_SECONDS", 1)
    engine = await open_engine(kubeconfig=str(gate[1]))
    first, second = await engine.start(spec_of("first")), await engine.start(spec_of("second"))
    await asyncio.sleep(3)  # the server ends two watches meanwhile
    assert engine.mirror.lists == 1
    watch = engine.watch()
    await kill(kube, engine, first)
    assert (await ending(watch)).id == "first"
    assert engine.mirror.lists == 1
    monkeypatch.setattr(client_module, "WATCH_SECONDS", 240)
    await asyncio.sleep(2)
    lists = engine.mirror.lists
    gate[0].close()
    await kill(kube, engine, second)
    with pytest.raises(EngineUnavailable):
        await ending(watch)
    gate[0].open()
    while True:
        watch = engine.watch()
        try:
            assert (await ending(watch)).id == "second"
            break
        except EngineUnavailable:  # of an attempt from before it was open
            continue
    assert engine.mirror.lists > lists


def account(kube: Cluster) -> Callable[[str], str]:
    """Make an account that may do what the engine does; gives a way to get tokens that die with a secret."""
    name, core = "expiring", {"apiVersion": "v1", "kind": "ServiceAccount"}
    rights = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    kube.apply(
        {**core, "metadata": {"name": name}},
        {**rights, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]},
        {
            **rights,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": kube.namespace}],
        },
    )

    def token(secret: str) -> str:
        kube.kubectl("create", "secret", "generic", secret)
        bound = {"apiVersion": "v1", "kind": "Secret", "name": secret}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
        path = f"/api/v1/namespaces/{kube.namespace}/serviceaccounts/{name}/token"
        made: dict[str, Any] = json.loads(kube.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(request)))
        return str(made["status"]["token"])

    return token


def kubeconfig_with(file: Path) -> Path:
    """Give a kubeconfig file with a token that is in another file."""
    content = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for user in content["users"]:
        user["user"] = {"tokenFile": str(file)}
    path = file.with_name("kubeconfig")
    path.write_text(yaml.safe_dump(content))
    return path


async def refuses(client: KubernetesClient, path: str) -> bool:
    """Whether the server does not know us any more."""
    try:
        await client.call("GET", path, params={"limit": "1"})
    except KubernetesError as error:
        return error.status == 401
    return False


async def test_token_that_expires(
    kube: Cluster, open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that the cluster takes no more is read again from its file, where the kubelet puts a new one."""
    monkeypatch.setattr(client_module, "TOKEN_LIFE", 3600.0)
    tokens = await asyncio.to_thread(account, kube)
    file = tmp_path / "token"
    await asyncio.to_thread(lambda: file.write_text(tokens("old")))
    config = await asyncio.to_thread(kubeconfig_with, file)
    engine = await open_engine(kubeconfig=str(config))
    await engine.start(SPEC)
    settings = KubernetesSettings(kubeconfig=str(config), namespace=kube.namespace)
    looking = KubernetesClient(await asyncio.to_thread(find_access, settings))
    await asyncio.to_thread(kube.kubectl, "delete", "secret", "old")
    # The server remembers for some seconds that it was good.
    await eventually(lambda: refuses(looking, f"api/v1/namespaces/{kube.namespace}/pods"), seconds=MINUTES)
    await looking.close()
    await asyncio.to_thread(lambda: file.write_text(tokens("new")))
    assert [session.id for session in await engine.list()] == [SPEC.id]
    assert (await engine.start(spec_of("later"))).state is SessionState.RUNNING


async def test_500_pods(kube: Cluster, open_engine: Open) -> None:
    """500 pods are listed by pages, and followed; all that are removed at once are told, each once."""
    engine = await open_engine()
    watch = engine.watch()
    await engine.mirror.synced()
    instance, path = engine._instance, f"api/v1/namespaces/{kube.namespace}/pods"
    settings, few = KubernetesSettings(namespace=kube.namespace, pull_policy="Never"), asyncio.Semaphore(8)
    client = KubernetesClient(await asyncio.to_thread(find_access, settings))

    async def make(number: int) -> None:
        body = pod_request(spec_of(f"many-{number}"), EngineSettings(), settings, instance)
        body["spec"]["schedulerName"] = "nobody"
        async with few:
            await client.call("POST", path, body=body)

    await asyncio.gather(*(make(number) for number in range(500)))
    listed = await engine.list()
    assert len({session.id for session in listed}) == len(listed) == 500
    await client.call("DELETE", path, params={"labelSelector": f"binderlet.instance={instance}"})
    ended = {(await ending(watch)).id for _ in range(500)}
    assert ended == {session.id for session in listed}
    assert pod_name(instance, "many-0") not in engine.mirror.pods
    await client.close()
