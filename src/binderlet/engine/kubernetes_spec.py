"""What a session is in the terms of Kubernetes' API, and back: pure, compared whole in its tests.

Every session gets the same pod, whatever its image says:

* user 1000:1000, no capabilities, no way to new privileges, the runtime's seccomp profile, no service account;
* limits on memory and CPU, and requests far below them, as sessions are idle most of the time;
* annotations that hold all of the session, so that the cluster is the only truth about it. Labels only select.

``docs/explanation/kubernetes.md`` says what differs from Docker's containers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from binderlet.config.kubernetes import KubernetesSettings, Toleration
from binderlet.config.schema import EngineSettings
from binderlet.engine.docker_spec import (
    INSTANCE,
    container_name,
    session_from_labels,
    session_labels,
    why_ended,
)
from binderlet.errors import BinderletError, ImageMissing, LaunchFailed, SessionDied
from binderlet.model import Session, SessionSpec, SessionState

Json = Mapping[str, Any]

CONTAINER = "session"
USER = 1000
PART = "app.kubernetes.io/component"
SESSION_LABELS = {"app.kubernetes.io/name": "binderlet", PART: "session"}
AGENT_SELECTOR = f"app.kubernetes.io/name=binderlet,{PART}=node-agent"
"""Of the nodes' helpers."""
NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
LABEL_VALUE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""What is both a label's value and a host name."""

PULL_FAILS = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"}
"""Why a container waits that may get its image yet."""
NO_IMAGE = {"ErrImageNeverPull", "InvalidImageName"}
CANNOT_START = {"CreateContainerError", "CreateContainerConfigError", "RunContainerError"}
NOT_THERE = re.compile(r"not found|manifest unknown|does not exist|name unknown|repository .* not known", re.IGNORECASE)
"""What registries say of an image that they do not have."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A session's pod: the session, and what only matters while it starts."""

    name: str
    session: Session
    waiting: str = ""
    """Why its container does not run yet, in the cluster's word, such as ``ErrImagePull``."""
    waiting_message: str = ""
    unschedulable: str = ""
    """Why no node has room for it; empty once one has, or while that is not known."""
    node: str = ""


def pod_name(instance: str, session_id: str) -> str:
    """Give the pod's name, as for a container: its id, which opens the session, is not in it."""
    return container_name(instance, session_id)


def selector(instance: str) -> str:
    """Give the label selector of this instance's sessions."""
    return f"{INSTANCE}={instance},{PART}=session"


def pod_request(
    spec: SessionSpec, engine: EngineSettings, settings: KubernetesSettings, instance: str, *, known_as: str = ""
) -> dict[str, Any]:
    """Give the body of the pod's create request; ``known_as`` is what nodes call the image, if not its name here."""
    secrets = [{"name": name} for name in settings.pull_secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(instance, spec.id),
            "labels": {**SESSION_LABELS, INSTANCE: instance},
            "annotations": {
                **session_labels(spec, instance),
                # An autoscaler must not move what cannot be moved.
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            # The sandbox's own first process reaps what a session's lost processes leave.
            "shareProcessNamespace": True,
            "securityContext": {
                "runAsUser": USER,
                "runAsGroup": USER,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": _tolerations(settings),
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(spec.limits.memory // 2)}}],
            "containers": [_container(spec, settings, known_as or spec.image)],
            **({"hostname": spec.id} if LABEL_VALUE.fullmatch(spec.id) else {}),
            **({"hostUsers": False} if settings.user_namespaces else {}),
            **({"runtimeClassName": engine.runtime} if engine.runtime else {}),
            **({"nodeSelector": settings.node_selector} if settings.node_selector else {}),
            **({"priorityClassName": settings.priority_class} if settings.priority_class else {}),
            **({"imagePullSecrets": secrets} if secrets else {}),
        },
    }


def _container(spec: SessionSpec, settings: KubernetesSettings, image: str) -> dict[str, Any]:
    limits = spec.limits
    disk = {"ephemeral-storage": str(limits.disk)} if limits.disk else {}
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        # Not "command", which would replace the image's entrypoint.
        "args": [unexpanded(argument) for argument in spec.command],
        "env": [{"name": name, "value": unexpanded(value)} for name, value in sorted(spec.environment.items())],
        "ports": [{"name": "http", "containerPort": spec.port}],
        "resources": {
            "limits": {"memory": str(limits.memory), "cpu": _millicores(limits.cpus), **disk},
            "requests": {
                "memory": str(min(settings.memory_request, limits.memory)),
                "cpu": _millicores(min(settings.cpu_request, limits.cpus)),
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - where programs look for it
    }


def _millicores(cores: float) -> str:
    return f"{round(cores * 1000)}m"


def _tolerations(settings: KubernetesSettings) -> list[dict[str, Any]]:
    seconds = int(settings.node_lost_after)
    silent = [
        {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for taint in NODE_TAINTS
    ]
    return [*silent, *(_toleration(one) for one in settings.tolerations)]


def _toleration(toleration: Toleration) -> dict[str, Any]:
    return {name: value for name, value in toleration.model_dump().items() if value}


def unexpanded(text: str) -> str:
    """Keep Kubernetes from replacing ``$(NAME)`` in arguments and values: two dollars stand for one."""
    return text.replace("$", "$$")


def pod_from_api(item: Json) -> Pod | None:
    """Give what a pod of the API is; None where its annotations are not a session's."""
    metadata, status = item["metadata"], item.get("status") or {}
    container = _container_status(status)
    state: Json = container.get("state") or {}
    ended = _ended(metadata, status, state)
    running = ended is None and status.get("phase") == "Running" and "running" in state and bool(status.get("podIP"))
    now = SessionState.RUNNING if running else SessionState.STARTING if ended is None else SessionState.ENDED
    code, because = ended or (None, "")
    session = session_from_labels(
        metadata.get("annotations") or {},
        state=now,
        engine_id=str(container.get("containerID") or metadata["uid"]).rpartition("/")[2],
        networks={"pod": {"IPAddress": host(status.get("podIP", ""))}} if running else None,
        exit_code=code,
        ended_because=because,
    )
    if session is None:
        return None
    waiting: Json = state.get("waiting") or {}
    return Pod(
        metadata["name"],
        session,
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        unschedulable=_unschedulable(status),
        node=(item.get("spec") or {}).get("nodeName", ""),
    )


def host(address: str) -> str:
    """Give an address as it stands before a port: in brackets where it is one of IPv6."""
    return f"[{address}]" if ":" in address else address


def _container_status(status: Json) -> Json:
    return next((one for one in status.get("containerStatuses") or () if one["name"] == CONTAINER), {})


def _ended(metadata: Json, status: Json, state: Json) -> tuple[int | None, str] | None:
    """Give the exit code, where known, and why it ended; None of one that has not."""
    terminated: Json | None = state.get("terminated")
    reason, failed = status.get("reason", ""), status.get("phase") in {"Failed", "Succeeded"}
    if terminated is not None and not reason:
        return _terminated(terminated)
    if failed or terminated is not None:
        # Eviction, a node's shutdown, a failed admission: the container may never have been.
        code = int(terminated["exitCode"]) if terminated else None
        because = ": ".join(part for part in (reason, status.get("message", "")) if part) or "no reason given"
        return code, f"the cluster ended it: {because}"
    if "deletionTimestamp" in metadata:
        return None, f"the cluster removed it{_why_removed(status)}"
    return None


def _terminated(terminated: Json) -> tuple[int, str]:
    code = int(terminated["exitCode"])
    if terminated.get("reason") in {"ContainerCannotRun", "StartError"}:
        return code, f"it could not start: {terminated.get('message', '').strip()}"
    return code, why_ended(code, out_of_memory=terminated.get("reason") == "OOMKilled")


def _why_removed(status: Json) -> str:
    reason = status.get("reason", "")
    told: Json = next(
        (
            one
            for one in status.get("conditions") or ()
            if one["type"] == "DisruptionTarget" and one["status"] == "True"
        ),
        {},
    )
    because = reason or told.get("message", "") or told.get("reason", "")
    return f": {because}" if because else ""


def _unschedulable(status: Json) -> str:
    return next(
        (
            one.get("message", "") or "no node has room"
            for one in status.get("conditions") or ()
            if one["type"] == "PodScheduled" and one["status"] == "False" and one.get("reason") == "Unschedulable"
        ),
        "",
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that starts, as it is now."""

    step: str
    """``room``, ``pull`` or ``start``: each has a time limit of its own."""
    text: str
    """For people who wait."""
    place: int = 0
    """Among those that wait for room; 0 where it does not."""


def verdict(pod: Pod, waits_since: float, settings: KubernetesSettings, place: int = 1) -> Session | Waiting:
    """Say how far the start of a session has come, when its present step has taken ``waits_since`` seconds.

    ``place`` is its place among those that wait for room.

    Raises:
        ImageMissing: no registry has its image.
        SessionDied: it ended, or cannot start.
        LaunchFailed: a time limit passed.
    """
    if pod.session.state is SessionState.RUNNING:
        return pod.session
    if pod.session.state is SessionState.ENDED:
        raise SessionDied(f"The session ended at once: {pod.session.ended_because}.")
    if (problem := _image_problem(pod, waits_since, settings)) is not None:
        raise problem
    if pod.waiting in CANNOT_START:
        raise SessionDied(f"The session could not start: {pod.waiting_message or pod.waiting}.")
    if pod.unschedulable and not pod.node:
        return Waiting("room", f"The cluster has no room at the moment. You are number {place} in the queue...", place)
    if pod.waiting in PULL_FAILS:
        return Waiting("pull", f"Fetching the image failed, trying again: {pod.waiting_message or pod.waiting}")
    return Waiting("start", f"Starting on node {pod.node}..." if pod.node else "Looking for a node...")


def _image_problem(pod: Pod, waits_since: float, settings: KubernetesSettings) -> BinderletError | None:
    said = pod.waiting_message or pod.waiting
    if pod.waiting in NO_IMAGE:
        return ImageMissing(f"The cluster has no image {pod.session.image}: {said}.")
    if pod.waiting not in PULL_FAILS:
        return None
    if NOT_THERE.search(pod.waiting_message):
        return ImageMissing(f"The cluster cannot fetch image {pod.session.image}: {said}.")
    if waits_since > settings.pull_patience:
        return LaunchFailed(
            f"The cluster cannot fetch image {pod.session.image}: {said}.",
            hint="Can its nodes reach the registry? 'kubectl describe pod' shows what they said.",
        )
    return None


def time_limit(step: str, settings: KubernetesSettings) -> float:
    """Give the seconds that a step of a start may take."""
    return settings.room_timeout if step == "room" else settings.pull_timeout


def place_in_line(pod: Pod, pods: Iterable[Pod]) -> int:
    """Give a session's place among those that wait for room, oldest first; 1 is next."""
    mine = (pod.session.created_at, pod.name)
    return 1 + sum(
        1 for other in pods if other.unschedulable and not other.node and (other.session.created_at, other.name) < mine
    )


TOLD = {
    "Pulling": "Fetching the image onto node {node}...",
    "TriggeredScaleUp": "The cluster is adding a node...",
    "FailedMount": "Waiting for the node: {message}",
    "FailedCreatePodSandBox": "Waiting for the node: {message}",
    "NetworkNotReady": "Waiting for the node: {message}",
    "Preempted": "The cluster made room for something more important.",
}
"""What the cluster's events mean to people who wait; the others are of no use to them."""


def event_messages(events: Sequence[Json]) -> list[str]:
    """Give what a pod's events say to people who wait, oldest first, each once."""
    ordered = sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    told = [
        TOLD[event["reason"]].format(
            node=(event.get("source") or {}).get("host", ""), message=str(event.get("message", "")).strip()[:300]
        )
        for event in ordered
        if event.get("reason") in TOLD
    ]
    return list(dict.fromkeys(told))


def agent_of(item: Json) -> tuple[str, str] | None:
    """Give the node and the host of a helper's pod; None of one that does not run."""
    status: Json = item.get("status") or {}
    if status.get("phase") != "Running" or not status.get("podIP") or "deletionTimestamp" in item["metadata"]:
        return None
    return item["spec"]["nodeName"], host(status["podIP"])
