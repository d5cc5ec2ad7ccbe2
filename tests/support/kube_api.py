"""A small API server in this process: pods, watches, pages, events and logs, with a kubelet that only pretends.

Its answers have the form of those in ``tests/engine/kubernetes_recorded``, which a real cluster gave; the engine's
contract suite runs on it and, where there is one, on a real cluster, so that neither says what the other does not.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import Access
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.tasks import Tasks
from support.lease_api import LeaseApi

Json = dict[str, Any]
NAMESPACE = "binder"
HEAD = f"api/v1/namespaces/{NAMESPACE}/"
OTHER_PAGE = "continue:"


def status_of(code: int, reason: str, message: str) -> Json:
    """Give the body of a refusal."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def now() -> str:
    """Give the time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class KubeApi:
    """The server and what tests make it do, by plain attributes that may change at any time."""

    images: set[str] = field(default_factory=set)
    """What the node has; a container with another cannot start."""
    dies: Callable[[Json], int | None] = lambda _pod: None
    """Gives the exit code of a pod's program that ends at once; None for one that stays."""
    output: str = ""
    """What each container prints."""
    quota: int = 1000
    """Pods that the namespace may have."""
    room: int = 1000
    """Pods that the node has room for."""
    pull_error: str = ""
    """Says the node of every image, while set."""
    throttle: int = 0
    """How many calls are answered with 429 from now on."""
    forbidden: str = ""
    """``pods`` or ``events``: what callers may not read."""
    namespace_is_gone: bool = False
    unreadable: bool = False
    """Whether logs are refused."""
    denied: set[tuple[str, str, str]] = field(default_factory=set)
    """Verbs, resources and subresources that callers may not use, as far as they ask beforehand."""
    hidden_nodes: bool = False
    broken_nodes: bool = False
    ready_nodes: int = 1
    """Of two."""
    expire_pages: bool = False
    """Whether the version of a list is forgotten before its second page."""
    token: str = ""
    """What callers must show; empty: nothing."""
    deaf: bool = False
    """Whether watches are told nothing, and stay open."""
    delay: float = 0.0
    """Seconds until a container runs."""
    calls: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and parameters of each call, in order."""
    pods: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    leases: LeaseApi = field(default_factory=LeaseApi)
    port: int = 0
    _version: int = 100
    _oldest: int = 0
    _history: list[tuple[int, str, Json]] = field(default_factory=list)
    _watches: set[asyncio.Queue[tuple[str, Json] | None]] = field(default_factory=set)
    _tasks: Tasks = field(default_factory=lambda: Tasks("kube api"))
    _runner: web.AppRunner | None = None

    # What tests do.

    async def up(self) -> None:
        """Begin to answer, at the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, handle_signals=False, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Answer no more; what it knows stays."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def close(self) -> None:
        """End for good."""
        await self._tasks.close()
        await self.down()

    def cut(self) -> None:
        """End every watch that is open."""
        for watch in self._watches:
            watch.put_nowait(None)

    def compact(self) -> None:
        """Forget what happened: watches from an earlier version are too old."""
        self._oldest = self._version
        self._history.clear()

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def update(self, name: str, **status: object) -> None:
        """Change a pod's status, and tell the watches."""
        pod = json.loads(json.dumps(self.pods[name]))
        pod["status"].update(status)
        self._put("MODIFIED", pod)

    def add(self, pod: Json) -> None:
        """Have a pod that nobody asked for."""
        self._put("ADDED", pod)

    def remove(self, name: str) -> None:
        """Have a pod no more."""
        self._put("DELETED", self.pods.pop(name))

    def end(self, name: str, code: int = 137, reason: str = "Error") -> None:
        """Let a running container end."""
        container = self.pods[name]["status"]["containerStatuses"][0]
        ended = {"exitCode": code, "reason": reason, "containerID": container["containerID"]}
        self.update(name, phase="Failed", containerStatuses=[{**container, "state": {"terminated": ended}}])

    def _put(self, kind: str, pod: Json) -> None:
        self._version += 1
        pod["metadata"]["resourceVersion"] = str(self._version)
        if kind != "DELETED":
            self.pods[pod["metadata"]["name"]] = pod
        self._history.append((self._version, kind, pod))
        if not self.deaf:
            for watch in self._watches:
                watch.put_nowait((kind, pod))

    # What the server does.

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.strip("/")
        self.calls.append((request.method, path, dict(request.query)))
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if path.startswith("apis/coordination.k8s.io/"):
            return await self.leases.answer(request)
        if not path.startswith(HEAD):
            return await self._cluster(request)
        kind, _, rest = path.removeprefix(HEAD).partition("/")
        if kind == "events":
            name = request.query["fieldSelector"].rpartition("=")[2]
            return web.json_response({"items": [one for one in self.events if one["involvedObject"]["name"] == name]})
        if not rest:
            return await self._all(request)
        return await self._one(request, *rest.split("/"))

    async def _cluster(self, request: web.Request) -> web.Response:
        """Answer what is asked about the whole cluster."""
        match request.path.strip("/"):
            case "version":
                return web.json_response({"gitVersion": "v1.31.4+k3s1"})
            case "apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
                asked = (await request.json())["spec"]["resourceAttributes"]
                key = (asked["verb"], asked["resource"], asked["subresource"])
                return web.json_response({"status": {"allowed": key not in self.denied}}, status=201)
            case "api/v1/nodes" if self.hidden_nodes:
                return self._refuse(403, "Forbidden", 'nodes is forbidden: User "x" cannot list resource "nodes"')
            case "api/v1/nodes" if not self.broken_nodes:
                return web.json_response({"items": [self._node(number) for number in range(2)]})
        return self._refuse(500, "InternalError", "etcdserver: request timed out")

    def _node(self, number: int) -> Json:
        ready = {"type": "Ready", "status": str(number < self.ready_nodes)}
        return {
            "metadata": {"name": f"node{number}"},
            "status": {"conditions": [ready], "allocatable": {"pods": "110"}},
        }

    def _refusal(self, request: web.Request) -> web.Response | None:
        path = request.path.strip("/")
        if self.throttle:
            self.throttle -= 1
            return self._refuse(429, "TooManyRequests", "please try again later", {"Retry-After": "0"})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._refuse(401, "Unauthorized", "Unauthorized")
        if path == "elsewhere":
            return self._refuse(404, "NotFound", "the server could not find the requested resource")
        if self.forbidden and path.startswith(f"{HEAD}{self.forbidden}"):
            said = f'{self.forbidden} is forbidden: User "binderlet" cannot list resource "{self.forbidden}"'
            return self._refuse(403, "Forbidden", said)
        return None

    def _refuse(self, code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
        return web.json_response(status_of(code, reason, message), status=code, headers=headers)

    async def _all(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return self._create(await request.json(), dry="dryRun" in request.query)
        if "watch" in request.query:
            return await self._watch(request)
        offset = 0
        if token := request.query.get("continue"):
            version, offset = map(int, token.removeprefix(OTHER_PAGE).split("-"))
            if version < self._oldest or self.expire_pages:
                return self._refuse(410, "Expired", "The provided continue parameter is too old")
        found = [pod for pod in self.pods.values() if _matches(pod, request)]
        limit = int(request.query.get("limit", "0")) or len(found) + 1
        metadata = {"resourceVersion": str(self._version)}
        if len(found) > offset + limit:
            metadata["continue"] = f"{OTHER_PAGE}{self._version}-{offset + limit}"
        return web.json_response({"kind": "PodList", "metadata": metadata, "items": found[offset : offset + limit]})

    def _create(self, pod: Json, *, dry: bool) -> web.Response:
        name = pod["metadata"]["name"]
        if self.namespace_is_gone:
            return self._refuse(404, "NotFound", f'namespaces "{NAMESPACE}" not found')
        if name in self.pods:
            return self._refuse(409, "AlreadyExists", f'pods "{name}" already exists')
        if len(self.pods) >= self.quota:
            said = f'pods "{name}" is forbidden: exceeded quota: sessions, requested: pods=1, used: pods={self.quota}'
            return self._refuse(403, "Forbidden", said)
        if dry:
            return web.json_response(pod, status=201)
        pod["metadata"] |= {"uid": secrets.token_hex(16), "namespace": NAMESPACE, "creationTimestamp": now()}
        pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}
        self._put("ADDED", pod)
        self._tasks.start(self._run(name), name=f"run {name}")
        return web.json_response(pod, status=201)

    async def _run(self, name: str) -> None:
        """Do what scheduler and kubelet do with a new pod."""
        uid = self.pods[name]["metadata"]["uid"]

        def is_there() -> bool:
            return name in self.pods and self.pods[name]["metadata"]["uid"] == uid

        while is_there() and sum("nodeName" in pod["spec"] for pod in self.pods.values()) >= self.room:
            told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            if not self.pods[name]["status"].get("conditions"):
                self.update(name, conditions=[{**told, "message": "0/1 nodes are available: 1 Insufficient memory."}])
            await asyncio.sleep(0.02)
        if not is_there():
            return
        self.pods[name]["spec"]["nodeName"] = "node1"
        self.update(name, conditions=[{"type": "PodScheduled", "status": "True"}])
        while is_there() and (reason := self._cannot_run(self.pods[name])) is not None:
            self._container(name, {"waiting": {"reason": reason[0], "message": reason[1]}})
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.delay)
        if not is_there():
            return
        code = self.dies(self.pods[name])
        if code is not None:
            self._container(name, {"terminated": {"exitCode": code, "reason": "Error"}}, "Failed")
        else:
            self._container(name, {"running": {"startedAt": now()}}, "Running")

    def _cannot_run(self, pod: Json) -> tuple[str, str] | None:
        container = pod["spec"]["containers"][0]
        if self.pull_error:
            return "ErrImagePull", self.pull_error
        if container["image"] in self.images:
            return None
        if container["imagePullPolicy"] == "Never":
            return (
                "ErrImageNeverPull",
                f'Container image "{container["image"]}" is not present with pull policy of Never',
            )
        return "ErrImagePull", f'failed to resolve reference "{container["image"]}": not found'

    def _container(self, name: str, state: Json, phase: str = "Pending") -> None:
        status: Json = {"name": "session", "state": state, "ready": "running" in state}
        if phase != "Pending":
            status["containerID"] = f"containerd://{secrets.token_hex(32)}"
        self.update(name, phase=phase, podIP="127.0.0.1", containerStatuses=[status])

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)

        async def send(kind: str, what: Json) -> None:
            await response.write(json.dumps({"type": kind, "object": what}).encode() + b"\n")

        if since < self._oldest:
            await send("ERROR", status_of(410, "Expired", f"too old resource version: {since}"))
            return response
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        for version, kind, pod in list(self._history):
            if version > since:
                queue.put_nowait((kind, pod))
        self._watches.add(queue)
        try:
            while (event := await queue.get()) is not None:
                if event[0] == "BOOKMARK" or _matches(event[1], request):
                    await send(*event)
        except ConnectionError:
            pass  # whoever watched is gone
        finally:
            self._watches.discard(queue)
        return response

    def bookmark(self) -> None:
        """Tell every watch how far it is."""
        for watch in self._watches:
            watch.put_nowait(("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(self._version)}}))

    async def _one(self, request: web.Request, name: str, part: str = "") -> web.Response:
        if name not in self.pods:
            return self._refuse(404, "NotFound", f'pods "{name}" not found')
        pod = self.pods[name]
        if part == "log" and self.unreadable:
            return self._refuse(500, "InternalError", "Get https://node1:10250: dial tcp: i/o timeout")
        if part == "log":
            if "containerID" not in (pod["status"].get("containerStatuses") or [{}])[0]:
                return self._refuse(400, "BadRequest", f'container "session" in pod "{name}" is waiting to start')
            lines = self.output.splitlines()[-int(request.query["tailLines"]) :]
            return web.Response(text="\n".join(lines) + "\n")
        if request.method == "DELETE":
            self.remove(name)
        return web.json_response(pod)


def _matches(pod: Json, request: web.Request) -> bool:
    labels = pod["metadata"].get("labels") or {}
    wanted = [one.split("=") for one in request.query.get("labelSelector", "").split(",") if one]
    return all(labels.get(name) == value for name, value in wanted)


@asynccontextmanager
async def kube_api() -> AsyncIterator[KubeApi]:
    """Serve one on a free port."""
    api = KubeApi()
    await api.up()
    try:
        yield api
    finally:
        await api.close()


def access_to(api: KubeApi, **more: Any) -> Access:  # noqa: ANN401 - fields of Access
    """Give the access to it."""
    return Access(f"http://127.0.0.1:{api.port}", NAMESPACE, None, **more)


def engine_on(api: KubeApi, instance: str = "t1", settings: KubernetesSettings | None = None) -> KubernetesEngine:
    """Give an engine on it."""
    client = KubernetesClient(access_to(api))
    return KubernetesEngine(client, EngineSettings(), settings or KubernetesSettings(), instance)
