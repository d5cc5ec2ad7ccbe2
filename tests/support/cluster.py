"""A real cluster for tests, which ``KUBECONFIG`` names: a namespace of our own, and ways to look inside; synchronous.

Where nobody names one it is that of ``support.own_cluster``, which also sets ``KUBE_NODE``: the program that can stop
its parts for a while.

``KUBE_IMPORT`` is a command that takes an image as a tar archive and puts it on the cluster's nodes, such as
``k3s ctr images import -``. Without it the tiny image must be there already, and tests that build images are skipped.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from support.engines import TINY_IMAGE, EngineApi, docker_socket, fresh_name, tiny_image
from support.own_cluster import OWN
from support.service import docker


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster."""

    namespace: str

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run kubectl and give what it prints."""
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def pods(self, instance: str = "") -> list[dict[str, Any]]:
        """List the pods of the namespace, or of one instance."""
        selected = ("-l", f"binderlet.instance={instance}") if instance else ()
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-o", "json", *selected))["items"]
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """Have these objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", given=json.dumps(listed))

    def load(self, image: str) -> None:
        """Copy an image of this machine's Docker to the nodes, where there is a way."""
        if not (command := import_command()):
            return
        with subprocess.Popen([docker(), "save", image], stdout=subprocess.PIPE) as saving:
            subprocess.run(command, stdin=saving.stdout, check=True, capture_output=True)
        assert saving.returncode == 0, image


def import_command() -> list[str]:
    """Give the command that imports images; empty where there is none."""
    return shlex.split(os.environ.get("KUBE_IMPORT", ""))


def has_cluster() -> None:
    """Skip the test where there is no cluster."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip(OWN.missing or "KUBECONFIG names no cluster")
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")


def node() -> NodeParts:
    """Give the parts of the cluster's first node; skips the test where the cluster is not ours to break."""
    if not (program := os.environ.get("KUBE_NODE")):
        pytest.skip("this would break parts of the cluster, which only scripts/cluster has for that")
    return NodeParts(program)


def second_node() -> dict[str, Any]:
    """Have another node, and give the settings of sessions that run there alone; or skip the test."""
    if not (program := os.environ.get("KUBE_NODE")):
        pytest.skip("which of the cluster's nodes is for this is not known; scripts/cluster makes one")
    done = subprocess.run([program, "second"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {
        "kubernetes__node_selector": {"kubernetes.io/hostname": "node2"},
        "kubernetes__tolerations": [{"key": "binderlet-test/second", "effect": "NoSchedule"}],
    }


@dataclass(frozen=True)
class NodeParts:
    """The programs of a cluster that tests may break."""

    program: str

    @contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """Keep one from doing anything, such as ``kubelet``."""
        subprocess.run([self.program, "signal", "STOP", part], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run([self.program, "signal", "CONT", part], check=True, capture_output=True)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Give a namespace of its own with the tiny image on its nodes; it goes with all that is in it."""
    has_cluster()
    ours = Cluster(f"binderlet-{fresh_name()}")
    ours.kubectl("create", "namespace", ours.namespace)
    try:
        tiny_image(EngineApi(docker_socket()))
        ours.load(TINY_IMAGE)
        deadline = time.monotonic() + 60
        # Pods are refused until the namespace has its default account.
        while not ours.kubectl("get", "serviceaccount", "default", "-o", "name", check=False):
            assert time.monotonic() < deadline, "the namespace gets no default service account"
            time.sleep(0.1)
        yield ours
    finally:
        ours.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false", check=False)
        ours.kubectl("delete", "namespace", ours.namespace, "--wait=false", check=False)
