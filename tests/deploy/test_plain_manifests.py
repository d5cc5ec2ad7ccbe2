"""The chart without Helm: the same objects as Helm makes, and accepted by a real API server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from binderlet.config import Settings
from binderlet.deploy.cluster_values import values_of
from binderlet.deploy.k3s_chart import chart_folder
from binderlet.deploy.plain_manifests import manifests, merged, read_values
from binderlet.errors import ConfigError
from support.cluster import cluster

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "binderlet"
SETTINGS = Settings(
    session={"memory": "16G"},
    registry={"url": "https://registry.example.org/binder/", "password": "<&>"},
    kubernetes={"agents_token": "abcdefghijklmnopqrst"},
)
WHOLE = values_of(SETTINGS, "binderlet:1", "ab" * 32, builder_image="b:1", ca_bundle="PEM\nPEM\n")
"""All that a settings file switches on."""
CHOICES: dict[str, Any] = {
    "instance": "other",
    "controlPlane": {
        "imagePullSecrets": ["a"],
        "existingSecret": "kept",
        "service": {"type": "LoadBalancer", "nodePort": 30080, "annotations": {"a": "b: c"}},
        "ingress": {"host": "b.example", "className": "nginx", "tlsSecret": "t", "annotations": {"x": "z"}},
        "tolerations": [{"key": "k", "effect": "NoSchedule"}],
        "nodeSelector": {"a": "b"},
        "priorityClassName": "high",
    },
    "sessions": {
        "quota": {"requestsMemory": "9Gi", "requestsCpu": "3", "limitsMemory": "9Gi"},
        "registryPassword": '{"auths": {}}',
        "createNamespace": False,
        "protectFromDrain": False,
    },
    "network": {"allowFrom": ["10.0.0.5/32"], "denyTo": [], "egressPorts": []},
    "nodeAgent": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
    "builders": {
        "cache": {"persistent": True, "storageClass": "fast", "size": "500M"},
        "userNamespaces": True,
        "registryPassword": "x",
        "egressTo": ["10.0.0.7/32"],
        "limits": {"cpu": ""},
    },
}
"""The other way where there are two, and all that is empty by default."""
NO_POLICIES = {"network": {"policies": False}, "builders": {"createNamespace": False}}


def of_helm(values: dict[str, Any], version: str, folder: Path) -> list[dict[str, Any]]:
    """Give what Helm makes, as it would be without Helm."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    command = ["helm", "template", "binder", str(CHART), "--namespace", "binder", "--kube-version", version]
    command += ["--values", str(folder / "values.yaml")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    text = done.stdout.replace("managed-by: Helm", "managed-by: manifests")
    found = [each for each in yaml.safe_load_all(text) if each]
    for each in found:
        each["metadata"]["labels"].pop("helm.sh/chart")
        if version == "1.20" and each["kind"] == "PodDisruptionBudget":
            each["apiVersion"] = "policy/v1beta1"  # which Helm knows from a real cluster alone
    return found


def named(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Give objects by what identifies them."""
    return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in objects}


def read(text: str) -> list[dict[str, Any]]:
    """Read manifests."""
    return list(yaml.safe_load_all(text))


@pytest.mark.timeout(60)
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("version", ["1.20", "1.33", "1.35"])
@pytest.mark.parametrize("more", [{}, CHOICES, NO_POLICIES], ids=["plain", "choices", "without policies"])
def test_the_same_as_helm(more: dict[str, Any], version: str, tmp_path: Path) -> None:
    """With whatever values, in old and current versions: exactly the objects that Helm makes, and their namespace."""
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), WHOLE, more)
    found = named(read(manifests([WHOLE, more], CHART, version=version)))
    assert found.pop(("Namespace", "", "binder"))
    assert found == named(of_helm(values, version, tmp_path))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("version", ["1.25", "1.30", "1.33", "1.35"])
def test_current_versions_take_them(version: str) -> None:
    """Every object is valid, without an unknown field."""
    for more in ({}, CHOICES):
        for each in read(manifests([WHOLE, more], chart_folder(), version=version)):
            kubernetes_validate.validate(each, version, strict=True)


def test_what_comes_first() -> None:
    """Namespaces are there before what is in them, and nothing is of Helm."""
    text = manifests([WHOLE], CHART, namespace="ours")
    kinds = [each["kind"] for each in read(text)]
    assert kinds[:4] == ["Namespace"] * 3 + ["PriorityClass"]
    assert {"Deployment", "StatefulSet", "DaemonSet", "PodDisruptionBudget", "NetworkPolicy"} < set(kinds)
    assert "helm.sh/chart" not in text
    assert {each["metadata"].get("namespace", "ours") for each in read(text)} == {
        "ours",
        "binderlet-sessions",
        "binderlet-builders",
    }


@pytest.mark.parametrize(
    ("values", "version", "why"),
    [
        ({"controlplane": {}}, "1.33", "controlplane: the chart has no such value"),
        ({"sessions": {"quota": {"pod": 1}}}, "1.33", "sessions.quota.pod: the chart has no such value"),
        ({"sessions": {"quota": 3}}, "1.33", "sessions.quota: must be a mapping"),
        ({"controlPlane": {"annotations": 3}}, "1.33", "no such value"),
        ({"builders": {"enabled": True}}, "1.33", "builders.image is needed"),
        ({}, "new", "no version of Kubernetes"),
    ],
)
def test_refused(values: dict[str, Any], version: str, why: str) -> None:
    """A value that is misspelt, wrong or missing is named."""
    with pytest.raises(ConfigError, match=why):
        manifests([values], CHART, version=version)


def test_values_of_a_file(tmp_path: Path) -> None:
    """A file's values; one that has none is empty, and one that is something else is named."""
    file = tmp_path / "values.yaml"
    for text, expected in (("a: {b: 1}", {"a": {"b": 1}}), ("", {})):
        file.write_text(text)
        assert read_values(file) == expected
    for text, why in (("- a", "has no values"), ("a: [", "cannot be read")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=why):
            read_values(file)


@pytest.mark.kube
@pytest.mark.docker
@pytest.mark.timeout(120)
def test_a_real_server_takes_them() -> None:
    """Applied, all of it is there; applied again, nothing changes."""
    with cluster() as kube:
        name = kube.namespace
        more = {
            "instance": name,
            "sessions": {"namespace": name, "createNamespace": False},
            "builders": {"namespace": name, "createNamespace": False, "replicas": 0},
            "controlPlane": {"replicas": 0},
            "nodeAgent": {"nodeSelector": {"no": "node"}},
        }
        text = manifests([WHOLE, more], CHART, name=name, namespace=name, version="1.20")
        try:
            made = kube.kubectl("apply", "-f", "-", given=text).splitlines()
            assert len(made) == len(read(text))
            kube.kubectl("apply", "-f", "-", given=text)
            kinds = ("deployments", "statefulsets", "daemonsets")
            found = kube.kubectl("get", ",".join(kinds), "-o", "jsonpath={.items[*].metadata.generation}").split()
            assert set(found) == {"1"}
            assert len(found) >= len(kinds)
        finally:
            kube.kubectl("delete", "priorityclass", f"{name}-session", f"{name}-builder", check=False)
