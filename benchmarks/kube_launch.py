"""``kube_launch``: from the request for a launch of a built image to the first 200 of ``/lab``, on a real cluster.

Reference: a bare pod of the same image, with the same command and limits, made by one call to the API, to the same
page. One of each in turn. ``KUBECONFIG`` names the cluster, ``KUBE_IMPORT`` the command that puts images on its node;
otherwise ``scripts/cluster`` makes one.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from typing import Any

from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import POLL, await_page, end_sessions, launch_to_first_page, running
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.config.kubernetes import KubernetesSettings
from support.cluster import Cluster, cluster, import_command
from support.own_cluster import own_cluster
from support.service import LiveService

RUNS = 9


class BarePod:
    """What anyone can do by hand: a pod of the same image and command."""

    def __init__(self, kube: Cluster, service: LiveService) -> None:
        (session,) = kube.pods(service.name)
        container = session["spec"]["containers"][0]
        self._kube = kube
        self._name = "floor"
        self._body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self._name},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsUser": 1000},
                "containers": [
                    {key: container[key] for key in ("name", "image", "imagePullPolicy", "args", "env", "resources")}
                ],
            },
        }
        arguments = container["args"]
        self._base = next(one.partition("=")[2] for one in arguments if one.startswith("--ServerApp.base_url="))
        self._token = next(pair["value"] for pair in container["env"] if pair["name"] == "JUPYTER_TOKEN")

        self._loop = asyncio.Runner()
        self._client = self._loop.run(self._open())

    async def _open(self) -> KubernetesClient:
        return KubernetesClient(await asyncio.to_thread(find_access, KubernetesSettings()))

    def run(self) -> None:
        """Make the pod and return after the first 200 of ``/lab``, over a connection that is open already."""
        address = self._loop.run(self._make())
        await_page(f"http://{address}:8888{self._base}lab?token={self._token}")

    async def _make(self) -> str:
        path = f"api/v1/namespaces/{self._kube.namespace}/pods"
        await self._client.call("POST", path, body=self._body)
        while True:
            pod = await self._client.call("GET", f"{path}/{self._name}")
            if address := pod["status"].get("podIP"):
                return str(address)
            await asyncio.sleep(POLL)

    def clean(self) -> None:
        """Remove it."""
        self._kube.kubectl("delete", "pod", self._name, "--grace-period=0", "--force", "--ignore-not-found")

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._client.close())
        self._loop.close()


def main() -> None:
    """Measure and print; without a cluster there is nothing to measure."""
    with own_cluster() as missing:
        if missing or not import_command():
            say(f"kube_launch needs a cluster: {missing or 'set KUBE_IMPORT, too'}")
            return
        run()


def run() -> None:
    """Measure and print."""
    ours: list[float] = []
    floor: list[float] = []
    with cluster() as kube:
        settings: dict[str, Any] = {
            "engine__kind": "kubernetes",
            "kubernetes__kubeconfig": os.environ["KUBECONFIG"],
            "kubernetes__namespace": kube.namespace,
            "kubernetes__delivery": "import",
            "kubernetes__import_command": import_command(),
        }
        with running(**settings) as (service, _, spec):
            launch_to_first_page(service, spec)
            reference = BarePod(kube, service)
            end_sessions(service)
            for number in range(RUNS):
                _settle(kube)
                ours.append(measure(lambda: launch_to_first_page(service, spec)))
                end_sessions(service)
                _settle(kube)
                floor.append(measure(reference.run))
                reference.clean()
                say(f"{number + 1}/{RUNS}: ours {ours[-1]:.3f} s, bare pod {floor[-1]:.3f} s")
            reference.close()
        version = json.loads(kube.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    detail = {"ours": summary(ours), "bare_pod": summary(floor), "kubernetes": version}
    Figure("kube_launch", statistics.median(ours), statistics.median(floor), "s", RUNS, detail).print()


def _settle(kube: Cluster) -> None:
    """Wait until the node has ended what was there: it goes on after a pod is gone from the API."""
    while kube.pods():
        time.sleep(0.1)
    time.sleep(3)


if __name__ == "__main__":
    main()
