"""Sessions as pods, and pods as sessions."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.config.kubernetes import KubernetesSettings, Toleration
from binderlet.config.schema import EngineSettings
from binderlet.engine import kubernetes_spec as k
from binderlet.errors import BinderletError, ImageMissing, LaunchFailed, SessionDied
from binderlet.model import Limits, Session, SessionState
from support.engine_harness import SPEC

Json = dict[str, Any]
RECORDED = Path(__file__).parent / "kubernetes_recorded"
SETTINGS = KubernetesSettings()
NAME = k.pod_name("binderlet", SPEC.id)


def request(**settings: object) -> Json:
    """Give the pod of ``SPEC`` with other settings."""
    return k.pod_request(SPEC, EngineSettings(), KubernetesSettings.model_validate(settings), "binderlet")


def pod(status: Json | None = None, **metadata: object) -> Json:
    """Give that pod as the API would."""
    made = request()
    made["metadata"] |= {"uid": "u-1", "resourceVersion": "5", **metadata}
    return {**made, "status": status or {"phase": "Pending"}}


def container(phase: str = "Running", **state: object) -> Json:
    """Give a status whose container is in this state."""
    one = {"name": "session", "containerID": "containerd://" + "c" * 64, "state": state}
    return {"phase": phase, "podIP": "10.1.2.3", "containerStatuses": [one]}


def seen(item: Json) -> k.Pod:
    """Read a pod that is a session's."""
    found = k.pod_from_api(item)
    assert found is not None
    return found


def test_whole_pod() -> None:
    """Everything that keeps a session in its place is there, and nothing else."""
    assert request() == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": NAME,
            "labels": {
                "app.kubernetes.io/name": "binderlet",
                "app.kubernetes.io/component": "session",
                "binderlet.instance": "binderlet",
            },
            "annotations": {
                "binderlet.instance": "binderlet",
                "binderlet.session": SPEC.id,
                "binderlet.token": SPEC.token,
                "binderlet.image": SPEC.image,
                "binderlet.launch": SPEC.launch_id,
                "binderlet.provider": SPEC.provider,
                "binderlet.spec": SPEC.spec,
                "binderlet.repo-url": SPEC.repo_url,
                "binderlet.created-at": repr(SPEC.created_at),
                "binderlet.port": "8888",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "shareProcessNamespace": True,
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": [
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
                for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
            ],
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(32 * 1024**2)}}],
            "hostname": SPEC.id,
            "containers": [
                {
                    "name": "session",
                    "image": SPEC.image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": list(SPEC.command),
                    "env": [
                        {"name": "BINDER_REPO_URL", "value": "https://example.org/a b?c=d&e='f'"},
                        {"name": "EMPTY", "value": ""},
                    ],
                    "ports": [{"name": "http", "containerPort": 8888}],
                    "resources": {
                        "limits": {"memory": str(64 * 1024**2), "cpu": "500m"},
                        "requests": {"memory": str(64 * 1024**2), "cpu": "10m"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "privileged": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - where programs look
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("settings", "where", "expected"),
    [
        ({"user_namespaces": True}, "hostUsers", False),
        ({"priority_class": "binderlet-session"}, "priorityClassName", "binderlet-session"),
        ({"node_selector": {"pool": "user"}}, "nodeSelector", {"pool": "user"}),
        ({"pull_secrets": ["a", "b"]}, "imagePullSecrets", [{"name": "a"}, {"name": "b"}]),
    ],
)
def test_settings_of_the_pod(settings: Json, where: str, expected: object) -> None:
    """What a setting asks for is in the pod, and without it the key is not there."""
    assert request(**settings)["spec"][where] == expected
    assert where not in request()["spec"]


def test_tolerations() -> None:
    """Tolerations come after those for nodes that fall silent; empty fields mean any and are left out."""
    taint = Toleration(key="hub.jupyter.org/dedicated", operator="Equal", value="user", effect="NoSchedule")
    every = Toleration()
    made = request(tolerations=[taint, every], node_lost_after=90)["spec"]["tolerations"]
    assert [one["tolerationSeconds"] for one in made[:2]] == [90, 90]
    assert made[2:] == [
        {"key": "hub.jupyter.org/dedicated", "operator": "Equal", "value": "user", "effect": "NoSchedule"},
        {"operator": "Exists"},
    ]


def test_runtime_class_and_disk() -> None:
    """The engine's runtime is a runtime class here, and a limit on the disk one of ephemeral storage."""
    spec = replace(SPEC, limits=Limits(2**30, 1.5, 512, disk=5 * 2**30))
    made = k.pod_request(spec, EngineSettings(runtime="gvisor"), SETTINGS, "binderlet")["spec"]
    assert made["runtimeClassName"] == "gvisor"
    resources = made["containers"][0]["resources"]
    assert resources["limits"] == {"memory": str(2**30), "cpu": "1500m", "ephemeral-storage": str(5 * 2**30)}
    assert resources["requests"] == {"memory": str(450 * 2**20), "cpu": "10m"}


@pytest.mark.parametrize("session_id", ["-x", "x-", "a" * 64])
def test_id_that_is_no_host_name(session_id: str) -> None:
    """An id that no host may have gives the pod the name that the cluster chooses."""
    made = k.pod_request(replace(SPEC, id=session_id), EngineSettings(), SETTINGS, "binderlet")
    assert "hostname" not in made["spec"]


def expanded(text: str, variables: dict[str, str]) -> str:
    """Replace references as Kubernetes does: ``$(NAME)`` where it knows the name, ``$$`` by one dollar."""
    return re.sub(
        r"\$\$|\$\(([^)]*)\)",
        lambda found: "$" if found[0] == "$$" else variables.get(found[1], found[0]),
        text,
    )


@given(st.text(alphabet="$()AB a", max_size=20))
def test_nothing_is_expanded(text: str) -> None:
    """Arguments and values arrive as they were given, whatever the cluster would put in their place."""
    assert expanded(k.unexpanded(text), {"A": "1", "B": "2", "": "3"}) == text


@given(st.text(max_size=40), st.text(max_size=40), st.floats(0, 4e9))
def test_session_comes_back(token: str, url: str, created_at: float) -> None:
    """A control plane that is new reads from the pod what another had written."""
    spec = replace(SPEC, token=token, repo_url=url, created_at=created_at, standby="key")
    made = json.loads(json.dumps(k.pod_request(spec, EngineSettings(), SETTINGS, "binderlet")))
    made["metadata"]["uid"] = "u-1"
    assert seen({**made, "status": container(running={})}).session == Session(
        id=spec.id,
        token=token,
        image=spec.image,
        launch_id=spec.launch_id,
        provider=spec.provider,
        spec=spec.spec,
        repo_url=url,
        created_at=created_at,
        state=SessionState.RUNNING,
        address="10.1.2.3:8888",
        engine_id="c" * 64,
        standby="key",
    )


def test_other_pods_are_no_sessions() -> None:
    """A pod without our annotations is left alone."""
    assert k.pod_from_api({"metadata": {"name": "x", "uid": "1"}, "spec": {}}) is None


def test_address_of_ipv6() -> None:
    """An address of IPv6 stands in brackets."""
    status = container(running={}) | {"podIP": "fd00::7"}
    assert seen(pod(status)).session.address == "[fd00::7]:8888"


DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
DISRUPTION = [
    {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "node is not ready"}
]


@pytest.mark.parametrize(
    ("item", "code", "because"),
    [
        (pod(container("Failed", terminated={"exitCode": 3, "reason": "Error"})), 3, "it ended with exit code 3"),
        (pod(container(terminated={"exitCode": 0, "reason": "Completed"})), 0, "it ended by itself"),
        (pod(container("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"})), 137, "it ran out of memory"),
        (pod(container("Failed", terminated={"exitCode": 137, "reason": "Error"})), 137, "it was killed"),
        (
            pod(container("Failed", terminated={"exitCode": 128, "reason": "StartError", "message": "no such file\n"})),
            128,
            "it could not start: no such file",
        ),
        (
            pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            None,
            "the cluster ended it: Evicted: The node was low on resource: memory.",
        ),
        (
            pod(container("Failed", terminated={"exitCode": 143}) | {"reason": "Shutdown"}),
            143,
            "the cluster ended it: Shutdown",
        ),
        (pod({"phase": "Failed"}), None, "the cluster ended it: no reason given"),
        (pod(container(running={}), **DELETED), None, "the cluster removed it"),
        (pod(container(running={}) | {"reason": "NodeLost"}, **DELETED), None, "the cluster removed it: NodeLost"),
        (
            pod(container(running={}) | {"conditions": DISRUPTION}, **DELETED),
            None,
            "the cluster removed it: node is not ready",
        ),
    ],
)
def test_ends(item: Json, code: int | None, because: str) -> None:
    """Why a session ended is said in words, with its exit code where it has one."""
    session = seen(item).session
    assert (session.state, session.address) == (SessionState.ENDED, "")
    assert (session.exit_code, session.ended_because) == (code, because)


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending"},
        {"phase": "Pending", "podIP": "10.1.2.3"},
        container("Pending", waiting={"reason": "ContainerCreating"}),
        {"phase": "Running", "containerStatuses": [{"name": "session", "state": {"running": {}}}]},
        {"phase": "Running", "podIP": "10.1.2.3", "containerStatuses": [{"name": "other", "state": {"running": {}}}]},
    ],
)
def test_starts(status: Json) -> None:
    """Until its own container runs and it has an address, a session starts."""
    session = seen(pod(status)).session
    assert (session.state, session.address, session.ended_because) == (SessionState.STARTING, "", "")


NO_ROOM = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}


@pytest.mark.parametrize(
    ("status", "waited", "expected"),
    [
        ({"phase": "Pending"}, 0, k.Waiting("start", "Looking for a node...")),
        (
            {"phase": "Pending", "conditions": [NO_ROOM]},
            0,
            k.Waiting("room", "The cluster has no room at the moment. You are number 4 in the queue...", 4),
        ),
        (
            container("Pending", waiting={"reason": "ErrImagePull", "message": "connection refused"}),
            10,
            k.Waiting("pull", "Fetching the image failed, trying again: connection refused"),
        ),
        (
            container("Pending", waiting={"reason": "ImagePullBackOff"}),
            10,
            k.Waiting("pull", "Fetching the image failed, trying again: ImagePullBackOff"),
        ),
    ],
)
def test_still_waiting(status: Json, waited: float, expected: k.Waiting) -> None:
    """What takes long is said in words, with the place in the queue where there is one."""
    assert k.verdict(seen(pod(status)), waited, SETTINGS, 4) == expected


def test_on_a_node() -> None:
    """Once it has a node, people read which."""
    item = pod({"phase": "Pending", "conditions": [NO_ROOM]})
    item["spec"]["nodeName"] = "n1"
    assert k.verdict(seen(item), 0, SETTINGS) == k.Waiting("start", "Starting on node n1...")


@pytest.mark.parametrize(
    ("status", "waited", "error", "said"),
    [
        (container("Pending", waiting={"reason": "ErrImageNeverPull"}), 0, ImageMissing, "ErrImageNeverPull"),
        (container("Pending", waiting={"reason": "InvalidImageName", "message": "bad"}), 0, ImageMissing, "bad"),
        (
            container("Pending", waiting={"reason": "ErrImagePull", "message": 'reference "r/x:1": not found'}),
            0,
            ImageMissing,
            "not found",
        ),
        (
            container("Pending", waiting={"reason": "ImagePullBackOff", "message": "connection refused"}),
            31,
            LaunchFailed,
            "connection refused",
        ),
        (
            container("Pending", waiting={"reason": "CreateContainerError", "message": "no command"}),
            0,
            SessionDied,
            "no command",
        ),
        (container(terminated={"exitCode": 1}), 0, SessionDied, "exit code 1"),
    ],
)
def test_failed(status: Json, waited: float, error: type[BinderletError], said: str) -> None:
    """What cannot come right is an error that says what the cluster said."""
    with pytest.raises(error, match=said):
        k.verdict(seen(pod(status)), waited, SETTINGS)


def test_running_is_a_session() -> None:
    """A pod that runs is the session itself."""
    there = seen(pod(container(running={})))
    assert k.verdict(there, 0, SETTINGS) is there.session


def test_no_message_of_the_scheduler() -> None:
    """A scheduler that gives no message still says that there is no room."""
    assert seen(pod({"conditions": [{**NO_ROOM, "message": ""}]})).unschedulable == "no node has room"


def test_place_in_line() -> None:
    """The oldest that waits for room is next; those that have a node or never lacked one do not count."""

    def waiting(name: str, created_at: float, **more: str) -> k.Pod:
        there = seen(pod({"conditions": [NO_ROOM]}))
        return replace(there, name=name, session=replace(there.session, created_at=created_at), **more)

    first, second, third = waiting("a", 1), waiting("b", 2), waiting("c", 2)
    others = [waiting("d", 0, node="n1"), waiting("e", 0, unschedulable="")]
    everybody = [third, second, *others, first]
    assert [k.place_in_line(one, everybody) for one in (first, second, third)] == [1, 2, 3]


def test_limits_of_time() -> None:
    """Waiting for room may take another time than fetching an image."""
    settings = KubernetesSettings(room_timeout=5, pull_timeout=7)
    assert [k.time_limit(step, settings) for step in ("room", "pull", "start")] == [5, 7, 7]


def test_events_for_people() -> None:
    """Of the cluster's events people read those that explain a wait, in order and once each."""
    events: list[Json] = [
        {"reason": "FailedMount", "message": "no volume ", "lastTimestamp": "2026-01-01T00:00:03Z"},
        {"reason": "Pulling", "source": {"host": "n1"}, "lastTimestamp": "2026-01-01T00:00:02Z"},
        {"reason": "Pulling", "source": {"host": "n1"}, "lastTimestamp": "2026-01-01T00:00:04Z"},
        {"reason": "Scheduled", "message": "assigned", "eventTime": "2026-01-01T00:00:01Z"},
        {"reason": "TriggeredScaleUp"},
    ]
    assert k.event_messages(events) == [
        "The cluster is adding a node...",
        "Fetching the image onto node n1...",
        "Waiting for the node: no volume",
    ]


def test_selector() -> None:
    """Only this instance's sessions are selected."""
    assert k.selector("binderlet") == "binderlet.instance=binderlet,app.kubernetes.io/component=session"


@pytest.mark.parametrize(
    ("status", "metadata", "expected"),
    [
        ({"phase": "Running", "podIP": "10.0.0.2"}, {}, ("n1", "10.0.0.2")),
        ({"phase": "Running", "podIP": "fd00::2"}, {}, ("n1", "[fd00::2]")),
        ({"phase": "Running"}, {}, None),
        ({"phase": "Pending", "podIP": "10.0.0.2"}, {}, None),
        ({"phase": "Running", "podIP": "10.0.0.2"}, DELETED, None),
        (None, {}, None),
    ],
)
def test_helpers(status: Json | None, metadata: Json, expected: tuple[str, str] | None) -> None:
    """A helper's pod counts while it runs, with its node and host."""
    assert k.agent_of({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": status}) == expected


RUNS, STARTS, ENDED = SessionState.RUNNING, SessionState.STARTING, SessionState.ENDED


@pytest.mark.parametrize(
    ("name", "state", "code", "said"),
    [
        ("created", STARTS, None, "Looking for a node"),
        ("running", RUNS, None, ""),
        ("exited", ENDED, 3, "it ended with exit code 3"),
        ("out_of_memory", ENDED, 137, "it ran out of memory"),
        ("evicted", ENDED, None, "Evicted: Pod ephemeral local storage usage exceeds"),
        ("removed", ENDED, None, "the cluster removed it"),
        ("cannot_start", ENDED, 128, 'it could not start: .*"/no/such/program"'),
        ("no_image", STARTS, None, "has no image binderlet-test/none:1"),
        ("pull_fails", STARTS, None, "Fetching the image failed, trying again: .*registry.invalid"),
        ("no_room", STARTS, None, "no room at the moment"),
    ],
)
def test_what_a_real_cluster_says(name: str, state: SessionState, code: int | None, said: str) -> None:
    """Pods as a real cluster (1.20.2) gave them mean what they should."""
    there = seen(json.loads((RECORDED / f"{name}.json").read_text()))
    assert (there.session.state, there.session.exit_code) == (state, code)
    assert bool(there.session.address) == (state is RUNS)
    try:
        found = k.verdict(there, 0, SETTINGS)
    except BinderletError as error:
        text = error.message
    else:
        text = found.text if isinstance(found, k.Waiting) else ""
    assert re.search(said, text)
