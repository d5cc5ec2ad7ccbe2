"""Builder pods in a real cluster, by the chart, with a registry and a package index that nodes and pods reach."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from binderlet.builder.toolchain import Toolchain
from support.cluster import Cluster, has_cluster
from support.package_index import PackageIndex, package_index
from support.plain_registry import plain_registry
from support.service import docker
from support.tiny_base import docker as run_docker
from support.tiny_base import make_tiny_base
from support.wheels import write_index, write_wheel

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "binderlet"
TIMEOUT = 420.0
"""Seconds for tests that are the first to need them: their image is made then."""


@dataclass(frozen=True)
class BuilderCluster:
    """Builder pods, their registry, and namespaces for them and for sessions."""

    instance: str
    registry: str
    """Where pods and this machine reach it."""
    known_as: str
    """What nodes call it."""
    index: PackageIndex
    """Has the package ``seaside``, and is trusted by nobody by itself."""
    sessions: Cluster
    builders: Cluster

    def settings(self) -> dict[str, Any]:
        """Give the settings of a service that builds there; the engine of this machine is out of reach."""
        return {
            "engine": {"kind": "kubernetes", "socket": "/nonexistent/docker.sock"},
            "server": {"instance": self.instance},
            "kubernetes": {"kubeconfig": os.environ["KUBECONFIG"], "namespace": self.sessions.namespace},
            "builder_pods": {"namespace": self.builders.namespace},
            "registry": {"url": f"http://{self.registry}/"},
            "network": {"index_url": self.index.url, "ca_bundle": str(self.index.authority)},
            "builder": {"image_prefix": f"{self.known_as}/b/i-", "base_image": f"{self.known_as}/b/base:1"},
        }

    def pods(self) -> list[str]:
        """Give the names of the builder pods."""
        return sorted(pod["metadata"]["name"] for pod in self.builders.pods(self.instance))

    def processes(self) -> str:
        """Give the command lines of what runs in the builder pods."""
        script = "for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$each; echo; done 2>/dev/null"
        return "".join(self.builders.kubectl("exec", pod, "--", "bash", "-c", script) for pod in self.pods())


@contextmanager
def builder_cluster(folder: Path) -> Iterator[BuilderCluster]:
    """Give two builder pods with a small base image, or skip the test where there can be none."""
    has_cluster()
    if not (enter := shlex.split(os.environ.get("KUBE_NSENTER", ""))):
        pytest.skip("KUBE_NSENTER names no command that runs a registry in the node's network")
    if shutil.which("helm") is None:
        pytest.skip("helm is not installed")
    name = f"binderlet-{secrets.token_hex(4)}"
    # To the node it is on loopback, where registries may be without TLS.
    host, packages = _node_address(), folder / "index"
    (packages / "files").mkdir(parents=True)
    write_index(packages / "files", [write_wheel(packages / "files", "seaside", "2.5")])
    with (
        plain_registry(folder, host=host, enter=enter) as registry,
        package_index(packages, host=host, enter=enter) as index,
    ):
        known_as = f"localhost:{registry.rpartition(':')[2]}"
        if node := os.environ.get("KUBE_NODE"):
            subprocess.run([node, "trust", known_as], check=True)
        image = _images(registry, known_as, folder)
        made = BuilderCluster(name, registry, known_as, index, Cluster(name), Cluster(f"{name}-builders"))
        for each in (made.sessions, made.builders):
            each.kubectl("create", "namespace", each.namespace)
        try:
            _install(made, image)
            yield made
        finally:
            subprocess.run(["helm", "uninstall", "builders", "--namespace", name], check=False, capture_output=True)
            for each in (made.sessions, made.builders):
                each.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false", check=False)
                each.kubectl("delete", "namespace", each.namespace, "--wait=false", check=False)
            run_docker(docker(), "image", "rm", "--force", image, f"{known_as}/b/base:1", check=False)


def _node_address() -> str:
    path = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    return Cluster("default").kubectl("get", "nodes", "-o", path)


def _images(registry: str, known_as: str, folder: Path) -> str:
    """Make the base and the builder image and push both; gives the latter's name."""
    base, tiny = f"{known_as}/b/base:1", f"binderlet-test/tiny-base:{secrets.token_hex(4)}"
    make_tiny_base(Toolchain("docker", docker(), ""), tiny)
    (folder / "Dockerfile").write_text(f"FROM {tiny}\nLABEL binderlet.python=3.11\n")
    run_docker(docker(), "build", "--quiet", "--tag", base, "--file", str(folder / "Dockerfile"), str(CHART))
    run_docker(docker(), "image", "rm", tiny)
    image = f"{known_as}/b/builder:1"
    settings = {
        "paths.state": folder / "state",
        "registry.url": f"http://{registry}/",
        "builder.image_prefix": f"{known_as}/b/i-",
        "builder.base_image": base,
    }
    chosen = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "binderlet.cli", "builder-image", image, "--push", *chosen]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return image


def _install(made: BuilderCluster, image: str) -> None:
    values = {
        "instance": made.instance,
        "sessions.namespace": made.sessions.namespace,
        "sessions.createNamespace": "false",
        "builders.enabled": "true",
        "builders.namespace": made.builders.namespace,
        "builders.createNamespace": "false",
        "builders.image": image,
        "builders.requests.memory": "64Mi",
        "builders.requests.cpu": "10m",
        "builders.cache.size": "10Gi",
    }
    chosen = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    helm = ["helm", "install", "builders", str(CHART), "--namespace", made.sessions.namespace, *chosen]
    subprocess.run(helm, check=True, capture_output=True)
    made.builders.kubectl("rollout", "status", f"statefulset/{made.instance}-builder", "--timeout=110s")
