"""From a session to Docker's terms and back, compared whole."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from binderlet.config.schema import EngineSettings
from binderlet.engine.docker_spec import (
    Endings,
    cgroup_parent,
    container_name,
    create_request,
    demultiplex,
    event_filter,
    instance_filter,
    last_lines,
    network_problem,
    network_request,
    session_from_inspect,
    session_from_list,
    session_labels,
    session_network_request,
    sessions_of,
    why_ended,
)
from binderlet.model import Limits, Session, SessionSpec, SessionState

SPEC = SessionSpec(
    id="owner-repo-abc",
    token="secret",
    image="binderlet/i-owner-repo:1479e02",
    command=("jupyter", "lab", "--port=8888"),
    environment={"B": "2=two", "A": "1"},
    limits=Limits(memory=2 * 1024**3, cpus=0.5, pids=512),
    launch_id="launch-1",
    provider="gh",
    spec="owner/repo/feature%2Fx",
    repo_url="https://github.com/owner/repo",
    created_at=1763796000.123456,
)
LABELS = {
    "binderlet.instance": "mine",
    "binderlet.session": "owner-repo-abc",
    "binderlet.token": "secret",
    "binderlet.image": "binderlet/i-owner-repo:1479e02",
    "binderlet.launch": "launch-1",
    "binderlet.provider": "gh",
    "binderlet.spec": "owner/repo/feature%2Fx",
    "binderlet.repo-url": "https://github.com/owner/repo",
    "binderlet.created-at": "1763796000.123456",
    "binderlet.port": "8888",
}
RUNNING = Session(
    id="owner-repo-abc",
    token="secret",
    image="binderlet/i-owner-repo:1479e02",
    launch_id="launch-1",
    provider="gh",
    spec="owner/repo/feature%2Fx",
    repo_url="https://github.com/owner/repo",
    created_at=1763796000.123456,
    state=SessionState.RUNNING,
    address="172.18.0.2:8888",
    engine_id="c0ffee",
)
NAME = "mine-676268e5bfd899be"
NETWORKS = {"binderlet": {"IPAddress": "172.18.0.2"}}


def create_body(host: dict[str, Any]) -> dict[str, Any]:
    """The create request of ``SPEC`` with changes to its HostConfig."""
    return {
        "Image": "binderlet/i-owner-repo:1479e02",
        "Cmd": ["jupyter", "lab", "--port=8888"],
        "Env": ["A=1", "B=2=two"],
        "User": "1000:1000",
        "Hostname": "owner-repo-abc",
        "Labels": LABELS,
        "HostConfig": {
            "NetworkMode": "binderlet",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "IpcMode": "private",
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
            "Init": True,
            "OomScoreAdj": 1000,
            "Ulimits": [
                {"Name": "nofile", "Soft": 4096, "Hard": 16384},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "Memory": 2147483648,
            "MemorySwap": 4294967296,
            "NanoCpus": 500000000,
            "PidsLimit": 512,
            "ShmSize": 1073741824,
        }
        | host,
    }


def test_create_request() -> None:
    """A session's container, whole."""
    assert create_request(SPEC, EngineSettings(), "mine", network="binderlet") == create_body({})


def test_create_request_with_all_options() -> None:
    """A runtime and a disk limit are passed on where they are set."""
    spec = replace(SPEC, limits=replace(SPEC.limits, disk=10 * 1024**3))
    request = create_request(spec, EngineSettings(runtime="runsc"), "mine", network="binderlet")
    assert request == create_body({"Runtime": "runsc", "StorageOpt": {"size": "10737418240"}})


@pytest.mark.parametrize(
    ("info", "parent"),
    [
        ({"CgroupDriver": "systemd", "CgroupVersion": "2"}, "a-b.slice"),
        ({"CgroupDriver": "systemd"}, "a-b.slice"),
        ({"CgroupDriver": "cgroupfs", "CgroupVersion": "1"}, "/root/a.slice/a-b.slice"),
        ({"CgroupDriver": "cgroupfs"}, "/root/a.slice/a-b.slice"),
        ({"CgroupDriver": "cgroupfs", "CgroupVersion": "2"}, None),
    ],
)
def test_the_parent_of_sessions_groups(info: dict[str, str], parent: str | None) -> None:
    """A slice's name where the engine asks systemd, a path where it does not, nothing where that would harm."""
    assert cgroup_parent("a-b.slice", info, "/root") == parent
    request = create_request(SPEC, EngineSettings(), "mine", network="binderlet", parent=parent or "")
    assert request["HostConfig"].get("CgroupParent") == parent


def test_podman_without_systemd_has_no_parent() -> None:
    """It refuses a path that ends as a slice does."""
    assert cgroup_parent("a.slice", {"CgroupDriver": "cgroupfs"}, "/root", podman=True) is None
    assert cgroup_parent("a.slice", {"CgroupDriver": "systemd"}, "/root", podman=True) == "a.slice"


def test_create_request_for_podman() -> None:
    """Podman gets its limit of processes per user spelt out, and no init program."""
    request = create_request(SPEC, EngineSettings(), "mine", network=NAME, podman=True)
    ulimits = [
        {"Name": "nofile", "Soft": 4096, "Hard": 16384},
        {"Name": "core", "Soft": 0, "Hard": 0},
        {"Name": "nproc", "Soft": 32768, "Hard": 32768},
    ]
    assert request == create_body({"NetworkMode": NAME, "Init": False, "Ulimits": ulimits})


def test_container_name() -> None:
    """A container's name says whose it is, is the same each time, and does not tell the session's id."""
    assert container_name("mine", "owner-repo-abc") == NAME


def test_labels() -> None:
    """All of a session is in its labels."""
    assert session_labels(SPEC, "mine") == LABELS


def test_network_request() -> None:
    """Docker's network lets no container talk to another; its subnet is the engine's choice or the setting."""
    body = {
        "Name": "binderlet",
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
    }
    assert network_request(EngineSettings()) == body
    assert network_request(EngineSettings(subnet="10.89.0.0/16")) == {
        **body,
        "IPAM": {"Config": [{"Subnet": "10.89.0.0/16"}]},
    }


def test_session_network_request() -> None:
    """Podman's network of one session is kept apart from all others and says whose it is."""
    assert session_network_request("mine", "owner-repo-abc") == {
        "Name": NAME,
        "Driver": "bridge",
        "Options": {"isolate": "true", "com.docker.network.bridge.name": "bl3fd3676268e5b"},
        "Labels": {"binderlet.instance": "mine", "binderlet.session": "owner-repo-abc"},
    }


GOOD_NETWORK = {
    "Driver": "bridge",
    "Options": {"com.docker.network.bridge.enable_icc": "false"},
    "IPAM": {"Config": [{"Subnet": "10.89.0.0/16", "Gateway": "10.89.0.1"}]},
}


@pytest.mark.parametrize(
    ("network", "subnet", "problem"),
    [
        (GOOD_NETWORK, "", ""),
        (GOOD_NETWORK, "10.89.0.0/16", ""),
        ({**GOOD_NETWORK, "IPAM": None}, "", ""),
        (GOOD_NETWORK, "10.90.0.0/16", "its subnet is 10.89.0.0/16 and engine.subnet is 10.90.0.0/16"),
        ({**GOOD_NETWORK, "Driver": "macvlan"}, "", "its driver is 'macvlan' and must be 'bridge'"),
        ({**GOOD_NETWORK, "Options": None}, "", "it lets sessions talk to each other"),
        (
            {**GOOD_NETWORK, "Options": {"com.docker.network.bridge.enable_icc": "true"}},
            "",
            "it lets sessions talk to each other",
        ),
    ],
)
def test_network_problem(network: dict[str, Any], subnet: str, problem: str) -> None:
    """A network that exists is used only if it keeps sessions apart and has the subnet of the settings."""
    assert network_problem(network, EngineSettings(subnet=subnet)) == problem


def test_filters() -> None:
    """Lists and events are those of this instance alone."""
    assert json.loads(instance_filter("mine")["filters"]) == {"label": ["binderlet.instance=mine"]}
    assert json.loads(event_filter("mine")["filters"]) == {
        "type": ["container"],
        "event": ["die", "died", "oom"],
        "label": ["binderlet.instance=mine"],
    }


def inspected(state: dict[str, Any], networks: Any = NETWORKS, labels: Any = LABELS) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """The answer to an inspect request, as far as it matters."""
    state = {"ExitCode": 0, "OOMKilled": False, **state}
    return {"Id": "c0ffee", "State": state, "Config": {"Labels": labels}, "NetworkSettings": {"Networks": networks}}


@pytest.mark.parametrize(
    ("container", "session"),
    [
        (inspected({"Status": "running"}), RUNNING),
        (inspected({"Status": "paused"}), RUNNING),
        (inspected({"Status": "running"}, networks=None), replace(RUNNING, address="")),
        (inspected({"Status": "running"}, networks={"x": {"IPAddress": ""}}), replace(RUNNING, address="")),
        (
            inspected({"Status": "created"}, networks={}),
            replace(RUNNING, state=SessionState.STARTING, address=""),
        ),
        (
            inspected({"Status": "exited", "ExitCode": 3}),
            replace(
                RUNNING,
                state=SessionState.ENDED,
                address="",
                exit_code=3,
                ended_because="it ended with exit code 3",
            ),
        ),
        (
            inspected({"Status": "exited", "ExitCode": 137, "OOMKilled": True}),
            replace(RUNNING, state=SessionState.ENDED, address="", exit_code=137, ended_because="it ran out of memory"),
        ),
        (inspected({"Status": "running"}, labels=None), None),
        (inspected({"Status": "running"}, labels={**LABELS, "binderlet.created-at": "noon"}), None),
    ],
)
def test_session_from_inspect(container: dict[str, Any], session: Session | None) -> None:
    """An inspected container is the session it was made for, with its state and the reason of its end."""
    assert session_from_inspect(container) == session


@pytest.mark.parametrize(
    ("container", "session"),
    [
        (
            {"State": "running", "Status": "Up 2 seconds", "Labels": LABELS, "NetworkSettings": {"Networks": NETWORKS}},
            RUNNING,
        ),
        (
            {"State": "created", "Status": "Created", "Labels": LABELS, "NetworkSettings": None},
            replace(RUNNING, state=SessionState.STARTING, address=""),
        ),
        (
            {"State": "exited", "Status": "Exited (0) 3 hours ago", "Labels": LABELS},
            replace(RUNNING, state=SessionState.ENDED, address="", exit_code=0, ended_because="it ended by itself"),
        ),
        (
            {"State": "removing", "Status": "Removal In Progress", "Labels": LABELS},
            replace(RUNNING, state=SessionState.ENDED, address="", ended_because="it ended"),
        ),
        ({"State": "running", "Labels": None}, None),
    ],
)
def test_session_from_list(container: dict[str, Any], session: Session | None) -> None:
    """One item of a list is the session it was made for."""
    assert session_from_list({"Id": "c0ffee", **container}) == session


def test_labels_bring_everything_back() -> None:
    """What was put into labels comes out the same, to the last digit."""
    labels = session_labels(replace(SPEC, created_at=0.1 + 0.2, port=9999), "mine")
    session = session_from_inspect(inspected({"Status": "running"}, labels=labels))
    assert session is not None
    assert (session.created_at, session.address) == (0.1 + 0.2, "172.18.0.2:9999")


@pytest.mark.parametrize(
    ("code", "out_of_memory", "said"),
    [
        (None, False, "it ended"),
        (0, False, "it ended by itself"),
        (1, False, "it ended with exit code 1"),
        (137, False, "it was killed"),
        (137, True, "it ran out of memory"),
        (1, True, "it ran out of memory"),
        (0, True, "it ended by itself"),  # a program in it ran out of memory before
    ],
)
def test_why_ended(code: int | None, out_of_memory: bool, said: str) -> None:  # noqa: FBT001 - a table
    """The reason is a sentence for people."""
    assert why_ended(code, out_of_memory=out_of_memory) == said


def event(action: str, container: str = "c0ffee", **attributes: str) -> dict[str, Any]:
    """One of the engine's events."""
    return {"Action": action, "Actor": {"ID": container, "Attributes": {**LABELS, **attributes}}}


def test_endings() -> None:
    """Only die ends a session, and lack of memory before it is the reason, for that container and once."""
    endings = Endings()
    ended = replace(RUNNING, state=SessionState.ENDED, address="", exit_code=137, ended_because="it ran out of memory")
    assert endings.feed(event("oom")) is None
    assert endings.feed(event("die", "other", exitCode="1")) == replace(
        ended, engine_id="other", exit_code=1, ended_because="it ended with exit code 1"
    )
    assert endings.feed(event("die", exitCode="137")) == ended
    assert endings.feed(event("die", exitCode="137")) == replace(ended, ended_because="it was killed")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", ""),
        (b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x04\ntwo", "one\ntwo"),
        (b"\x01\0\0\0\0\0\0\x09cut", "cut"),
        (b"\x01\0\0\0\0\0\0\x02\xff\n\x01\0\0", "\ufffd\n"),
    ],
)
def test_demultiplex(answer: bytes, text: str) -> None:
    """Both streams come in order; a cut answer gives what it has; bytes that are no text do not stop it."""
    assert demultiplex(answer) == text


def test_last_lines() -> None:
    """Only the last lines are kept."""
    assert last_lines("a\nb\nc\n", 2) == "b\nc"
    assert last_lines("a", 5) == "a"
    assert last_lines("a", 0) == ""


def test_containers_that_are_no_sessions_are_left_out() -> None:
    """Only sessions are kept."""
    assert sessions_of([None, RUNNING]) == [RUNNING]
