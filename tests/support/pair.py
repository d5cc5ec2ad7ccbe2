"""Control planes in a real cluster, from the chart; and visitors of their HAProxies."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binderlet.config.load import load
from binderlet.deploy.cluster_values import as_yaml, values_of
from support.cluster import Cluster
from support.service import Event
from support.visit import wait_for

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "binderlet"
SPEC = "git/file%3A%2F%2F%2Fsrv%2Frepo/HEAD"
SETTINGS = """\
[kubernetes]
delivery = "none"
pull_policy = "Never"
memory_request = "32M"
[session]
memory = "128M"
[providers.git]
local_folders = ["/srv/repo"]
[builder]
min_free_disk = 0
[standby]
enabled = false
"""


def get(url: str, headers: dict[str, str] | None = None, timeout: float = 10.0) -> tuple[int, bytes]:
    """Fetch a page; gives status and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


@dataclass(frozen=True)
class Pod:
    """One control plane with its HAProxy."""

    name: str
    address: str

    @property
    def url(self) -> str:
        """Where its HAProxy answers."""
        return f"http://{self.address}:8585/"

    def launch(self, after: str = "") -> Generator[Event]:
        """Ask its HAProxy for a launch, and yield the events, each with its id, until the connection ends."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        request = urllib.request.Request(f"{self.url}build/{SPEC}", headers=headers)
        event_id = ""
        with urllib.request.urlopen(request, timeout=60) as answer:
            for line in answer:
                if line.startswith(b"id:"):
                    event_id = line[3:].strip().decode()
                elif line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    yield event | {"id": event_id}
                    if event.get("phase") in {"ready", "failed"}:
                        return

    def ready(self) -> str:
        """Launch, and give the session's path."""
        last: Event = {}
        for event in self.launch():
            last = event
        assert last.get("phase") == "ready", last
        return path_of(last)


def path_of(ready: Event) -> str:
    """Give the path of the session that an event tells of."""
    return "user/" + str(ready["url"]).partition("/user/")[2]


class Release:
    """The chart in a namespace."""

    def __init__(self, kube: Cluster, folder: Path, image: str) -> None:
        self.kube, self.name, self._folder = kube, kube.namespace, folder
        self._image = image

    def helm(self, *arguments: str) -> None:
        """Run helm."""
        command = ["helm", *arguments, "--namespace", self.name]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def put(self, image: str, more: str = "") -> None:
        """Install it, or upgrade it, with values from a settings file; returns once all pods are replaced."""
        file = self._folder / "binderlet.toml"
        file.write_text(SETTINGS + more)
        settings = load(file, environ={"BINDERLET_SERVER__INSTANCE": self.name}).settings
        values = values_of(settings, image, "ab" * 32)
        values["sessions"] |= {"namespace": self.name, "createNamespace": False}
        values["controlPlane"] |= {"imagePullPolicy": "Never", "drain": 8}
        (self._folder / "values.yaml").write_text(as_yaml(values))
        self.helm("upgrade", "--install", "pair", str(CHART), "--values", str(self._folder / "values.yaml"))
        self.settle()

    def settle(self) -> None:
        """Wait until as many pods run as are wanted, and one of them leads."""
        self.kube.kubectl("rollout", "status", f"deployment/{self.name}", "--timeout=240s")
        wait_for(lambda: len(self.pods()) == 2, seconds=60, what="two pods are ready")
        wait_for(lambda: self.leader() in self.pods(), seconds=60, what="one of them leads")
        wait_for(lambda: all(get(f"{pod.url}health")[0] == 200 for pod in self.pods()), seconds=60, what="they answer")

    def _staying(self) -> list[dict[str, Any]]:
        selected = ("-l", "app.kubernetes.io/component=control-plane")
        found = json.loads(self.kube.kubectl("get", "pods", *selected, "-o", "json"))["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def pods(self) -> list[Pod]:
        """Give the control planes that are ready and stay."""
        return [
            Pod(each["metadata"]["name"], each["status"]["podIP"])
            for each in self._staying()
            if all(one["ready"] for one in each["status"].get("containerStatuses") or [{"ready": False}])
        ]

    def leader(self) -> Pod:
        """Give the one that leads, whether or not it still runs; its address is empty where it does not."""
        holder = self.lease().get("holderIdentity") or ""
        return next((pod for pod in self.pods() if pod.name == holder), Pod(holder, ""))

    def lease(self) -> dict[str, Any]:
        """Give what the Lease says."""
        found = self.kube.kubectl("get", "lease", self.name, "-o", "json", check=False)
        spec: dict[str, Any] = json.loads(found)["spec"] if found else {}
        return spec

    def follower(self) -> Pod:
        """Give the one that does not lead."""
        leader = self.leader()
        return next(pod for pod in self.pods() if pod != leader)

    def sessions(self) -> int:
        """Count the sessions' pods."""
        listed = self.kube.kubectl("get", "pods", "-l", "app.kubernetes.io/component=session", "-o", "name")
        return len(listed.split())

    def kill(self, pod: Pod) -> None:
        """End a pod as the loss of its node would: its control plane gives nothing back."""
        self.kube.kubectl("exec", pod.name, "-c", "control-plane", "--", "sh", "-c", "kill -USR2 1")
        self.kube.kubectl("delete", "pod", pod.name, "--grace-period=0", "--force")

    def images(self) -> set[str]:
        """Give the images of the control planes that stay."""
        return {one["image"] for each in self._staying() for one in each["spec"]["containers"]}


class Poller:
    """Asks again and again in a thread, and remembers what went wrong."""

    def __init__(self, url: str, every: float = 0.1) -> None:
        self._url, self._every = url, every
        self.asked = 0
        self.wrong: list[tuple[int, bytes]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.is_set():
            status, body = get(self._url)
            self.asked += 1
            if status != 200:
                self.wrong.append((status, body[:200]))
            time.sleep(self._every)

    @contextmanager
    def going(self) -> Iterator[Poller]:
        """Ask while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._thread.join()
