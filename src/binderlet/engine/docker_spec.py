"""What a session is in the terms of Docker's API, and back: pure, compared whole in its tests.

Every session gets the same container, whatever its image says:

* user 1000:1000, never the image's: an image's ``USER`` may name root under another name, and 1000 is what
  BinderHub's sessions run as, so repositories written for it work;
* no capabilities, no way to new privileges, the engine's seccomp profile;
* limits on memory, swap, CPU, processes, open files and shared memory, and a log of bounded size;
* a network without a way to other sessions, and no published port;
* labels that hold all of the session, so that the engine is the only truth about it.

``docs/explanation/isolation.md`` says what each of them costs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from binderlet.config.schema import EngineSettings
from binderlet.model import Session, SessionSpec, SessionState

Json = Mapping[str, Any]

USER = "1000:1000"

LABEL = "binderlet."
INSTANCE = LABEL + "instance"
STANDBY = LABEL + "standby"

NOFILE = {"Name": "nofile", "Soft": 4096, "Hard": 16384}
"""A soft limit of a million, which engines give by default, makes programs slow that close all they might have open."""
NO_CORE = {"Name": "core", "Soft": 0, "Hard": 0}
NPROC = {"Name": "nproc", "Soft": 32768, "Hard": 32768}
"""Counts user 1000 of all sessions together, so it must be far above the limit of one; Podman itself has 32768."""

LOG = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}}
"""The only driver that Docker and Podman share; ``local`` and ``none`` start no faster."""

OOM_SCORE = 1000
"""When the whole machine runs out of memory, sessions go before what serves them, and before builds."""

OUT_OF_MEMORY = "it ran out of memory"

SESSION_STATES = {
    "created": SessionState.STARTING,
    "configured": SessionState.STARTING,
    "initialized": SessionState.STARTING,
    "running": SessionState.RUNNING,
    "paused": SessionState.RUNNING,
    "restarting": SessionState.RUNNING,
}
"""The engine's words; all others mean that it ended."""


def container_name(instance: str, session_id: str) -> str:
    """Give the name that a person sees in ``docker ps``; the id is in the labels.

    Not the id itself: Docker's name server tells any session the names of all containers on its network.
    """
    return f"{instance}-{hashlib.sha256(session_id.encode()).hexdigest()[:16]}"


def session_labels(spec: SessionSpec, instance: str) -> dict[str, str]:
    """Give the labels from which ``session_from_labels`` makes the session again."""
    return {
        INSTANCE: instance,
        LABEL + "session": spec.id,
        LABEL + "token": spec.token,
        LABEL + "image": spec.image,
        LABEL + "launch": spec.launch_id,
        LABEL + "provider": spec.provider,
        LABEL + "spec": spec.spec,
        LABEL + "repo-url": spec.repo_url,
        LABEL + "created-at": repr(spec.created_at),
        LABEL + "port": str(spec.port),
        **({STANDBY: spec.standby} if spec.standby else {}),
    }


def cgroup_parent(slice_: str, info: Json, root: str, *, podman: bool = False) -> str | None:
    """Give the parent of the sessions' control groups as this engine wants it; None where it can have none.

    ``info`` is the engine's own description, ``root`` where systemd's groups begin. With systemd's driver it is the
    slice's name, with the other a path. In cgroup version 2 systemd takes controllers away from groups that it
    did not make, and with them the sessions' limits: there the engine must have systemd's driver. So must Podman, which
    takes no path that ends as a slice does.
    """
    if info.get("CgroupDriver") == "systemd":
        return slice_
    if podman or str(info.get("CgroupVersion", "1")) != "1":
        return None
    words = slice_.removesuffix(".slice").split("-")
    return "/".join([root, *(f"{'-'.join(words[:end])}.slice" for end in range(1, len(words) + 1))])


def create_request(
    spec: SessionSpec, settings: EngineSettings, instance: str, *, network: str, parent: str = "", podman: bool = False
) -> dict[str, Any]:
    """Give the body of the container's create request; ``parent`` is from ``cgroup_parent``."""
    return {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "Env": [f"{name}={value}" for name, value in sorted(spec.environment.items())],
        "User": USER,
        "Hostname": spec.id,
        "Labels": session_labels(spec, instance),
        "HostConfig": {
            "NetworkMode": network,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "IpcMode": "private",
            "RestartPolicy": {"Name": "no"},
            "LogConfig": LOG,
            # Costs nothing measurable, and reaps what a session's lost processes leave: zombies count as pids.
            # Podman's own is an optional package, and without it a container with init does not start.
            "Init": not podman,
            "OomScoreAdj": OOM_SCORE,
            # Podman's default asks for more than it may give where it lacks CAP_SYS_RESOURCE.
            "Ulimits": [NOFILE, NO_CORE, *([NPROC] if podman else [])],
            **_limits(spec),
            **({"Runtime": settings.runtime} if settings.runtime else {}),
            **({"CgroupParent": parent} if parent else {}),
        },
    }


def _limits(spec: SessionSpec) -> dict[str, Any]:
    limits = spec.limits
    return {
        "Memory": limits.memory,
        # Memory and swap together: hibernation can push all of a session out, and none can take more swap than that.
        "MemorySwap": 2 * limits.memory,
        "NanoCpus": round(limits.cpus * 1e9),
        "PidsLimit": limits.pids,
        # Half, as Linux does for a machine; it counts as the session's memory.
        "ShmSize": limits.memory // 2,
        **({"StorageOpt": {"size": str(limits.disk)}} if limits.disk else {}),
    }


def network_request(settings: EngineSettings) -> dict[str, Any]:
    """Give the body of the create request for Docker's one network of all sessions."""
    pools = {"IPAM": {"Config": [{"Subnet": settings.subnet}]}} if settings.subnet else {}
    return {
        "Name": settings.network,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        **pools,
    }


def network_problem(network: Json, settings: EngineSettings) -> str:
    """Say why a network that exists cannot be the sessions' network; empty when it can."""
    if network.get("Driver") != "bridge":
        return f"its driver is {network.get('Driver')!r} and must be 'bridge'"
    if (network.get("Options") or {}).get("com.docker.network.bridge.enable_icc") != "false":
        return "it lets sessions talk to each other"
    subnets = [pool.get("Subnet") for pool in (network.get("IPAM") or {}).get("Config") or ()]
    if settings.subnet and settings.subnet not in subnets:
        return f"its subnet is {', '.join(map(str, subnets))} and engine.subnet is {settings.subnet}"
    return ""


def bridge_of(network: Json) -> str:
    """Give the interface on this machine of a network of Docker's."""
    chosen = (network.get("Options") or {}).get("com.docker.network.bridge.name")
    return str(chosen or f"br-{network.get('Id', '')[:12]}")


def session_bridges(instance: str) -> str:
    """Give what the interfaces of all sessions on Podman begin with, with a star at its end."""
    return f"bl{hashlib.sha256(instance.encode()).hexdigest()[:4]}*"


def session_network_request(instance: str, session_id: str) -> dict[str, Any]:
    """Give the body of the create request for one session's own network on Podman, named like its container.

    Podman cannot keep containers of one network apart, but ``isolate`` keeps networks apart.
    """
    bridge = session_bridges(instance).rstrip("*") + hashlib.sha256(session_id.encode()).hexdigest()[:9]
    return {
        "Name": container_name(instance, session_id),
        "Driver": "bridge",
        "Options": {"isolate": "true", "com.docker.network.bridge.name": bridge},
        "Labels": {INSTANCE: instance, LABEL + "session": session_id},
    }


def instance_filter(instance: str) -> dict[str, str]:
    """Give the query parameter that selects what belongs to this instance."""
    return {"filters": json.dumps({"label": [f"{INSTANCE}={instance}"]})}


def event_filter(instance: str) -> dict[str, str]:
    """Give the query parameter that selects the events that ``Endings`` understands."""
    # Podman calls it "died" when filtering, and "die" when telling.
    wanted = {"type": ["container"], "event": ["die", "died", "oom"], "label": [f"{INSTANCE}={instance}"]}
    return {"filters": json.dumps(wanted)}


def session_from_labels(
    labels: Json,
    *,
    state: SessionState,
    engine_id: str = "",
    networks: Json | None = None,
    exit_code: int | None = None,
    ended_because: str = "",
) -> Session | None:
    """Give the session that a container is; None where its labels are not a session's."""
    try:
        return Session(
            id=labels[LABEL + "session"],
            token=labels[LABEL + "token"],
            image=labels[LABEL + "image"],
            launch_id=labels[LABEL + "launch"],
            provider=labels[LABEL + "provider"],
            spec=labels[LABEL + "spec"],
            repo_url=labels[LABEL + "repo-url"],
            created_at=float(labels[LABEL + "created-at"]),
            state=state,
            address=_address(networks or {}, labels[LABEL + "port"]) if state is not SessionState.ENDED else "",
            engine_id=engine_id,
            exit_code=exit_code,
            ended_because=ended_because,
            standby=labels.get(STANDBY, ""),
        )
    except (KeyError, ValueError):
        return None


def _address(networks: Json, port: str) -> str:
    addresses = [network.get("IPAddress") for network in networks.values()]
    return next((f"{address}:{port}" for address in addresses if address), "")


def session_from_inspect(container: Json) -> Session | None:
    """Give the session from the answer to an inspect request."""
    now: Json = container["State"]
    state = SESSION_STATES.get(now["Status"], SessionState.ENDED)
    ended = state is SessionState.ENDED
    code = int(now["ExitCode"]) if ended else None
    return session_from_labels(
        container["Config"].get("Labels") or {},
        state=state,
        engine_id=container["Id"],
        networks=container["NetworkSettings"].get("Networks"),
        exit_code=code,
        ended_because=why_ended(code, out_of_memory=bool(now.get("OOMKilled"))) if ended else "",
    )


def session_from_list(container: Json) -> Session | None:
    """Give the session from one item of a list request; of one that ended, only its exit code is known."""
    state = SESSION_STATES.get(container["State"], SessionState.ENDED)
    ended = state is SessionState.ENDED
    found = re.match(r"Exited \((\d+)\)", container.get("Status", "")) if ended else None
    code = int(found[1]) if found else None
    return session_from_labels(
        container.get("Labels") or {},
        state=state,
        engine_id=container["Id"],
        networks=(container.get("NetworkSettings") or {}).get("Networks"),
        exit_code=code,
        ended_because=why_ended(code) if ended else "",
    )


def why_ended(exit_code: int | None, *, out_of_memory: bool = False) -> str:
    """Say for people why a session ended."""
    # Engines also note it where the kernel killed a program of the session, such as a kernel, and the session went on.
    if out_of_memory and exit_code != 0:
        return OUT_OF_MEMORY
    if exit_code is None:
        return "it ended"
    if exit_code == 0:
        return "it ended by itself"
    if exit_code == 137:  # noqa: PLR2004 - 128 + SIGKILL, by the shell's custom
        return "it was killed"
    return f"it ended with exit code {exit_code}"


class Endings:
    """Puts together what the engine's events say about the end of a container.

    ``oom`` comes before ``die``; only ``die`` says that it is over, and has the exit code.
    """

    def __init__(self) -> None:
        self._out_of_memory: set[str] = set()

    def feed(self, event: Json) -> Session | None:
        """Take the next event; give the session that ended by it, if any."""
        actor: Json = event["Actor"]
        container = actor["ID"]
        if event["Action"] == "oom":
            self._out_of_memory.add(container)
        if event["Action"] != "die":
            return None
        labels: Json = actor["Attributes"]
        code = int(labels["exitCode"])
        because = why_ended(code, out_of_memory=container in self._out_of_memory)
        self._out_of_memory.discard(container)
        return session_from_labels(
            labels, state=SessionState.ENDED, engine_id=container, exit_code=code, ended_because=because
        )


def demultiplex(answer: bytes) -> str:
    """Give the text of a logs answer: frames of an 8-byte header and a piece; a cut last frame gives what it has."""
    pieces: list[bytes] = []
    position = 0
    while position + 8 <= len(answer):
        length = int.from_bytes(answer[position + 4 : position + 8], "big")
        pieces.append(answer[position + 8 : position + 8 + length])
        position += 8 + length
    return b"".join(pieces).decode("utf-8", "replace")


def last_lines(text: str, lines: int) -> str:
    """Give the last lines of a text."""
    return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""


def sessions_of(found: Iterable[Session | None]) -> list[Session]:
    """Leave out the containers that are no sessions."""
    return [session for session in found if session is not None]
