"""What is given to clusters: the Helm chart, the manifests made from it, and sessions' pods."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from binderlet.builder.cluster.choice import CONTAINER, selector
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.schema import EngineSettings
from binderlet.engine.kubernetes_spec import PART as PART_LABEL
from binderlet.engine.kubernetes_spec import SESSION_LABELS, pod_request
from binderlet.pair.peers import PART
from support.engine_harness import SPEC

ROOT = Path(__file__).parents[2] / "deploy"
CHART = ROOT / "helm" / "binderlet"
MANIFESTS = ROOT.parent / "src" / "binderlet" / "deploy" / "manifests" / "binderlet.yaml"
VERSIONS = ["1.25", "1.30", "1.33", "1.35"]


def manifests() -> list[dict[str, Any]]:
    """Give the plain manifests."""
    return list(yaml.safe_load_all(MANIFESTS.read_text()))


def one(kind: str) -> dict[str, Any]:
    """Give the one manifest of a kind, or the sessions' one where there are two."""
    found = [each for each in manifests() if each["kind"] == kind]
    return next((each for each in found if "sessions" in each["metadata"]["name"]), found[0])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_the_schema(version: str) -> None:
    """Every manifest is valid, without an unknown field, in old and current versions."""
    for each in manifests():
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("version", VERSIONS)
def test_pods_fit_the_schema(version: str) -> None:
    """A session's pod with every setting is valid, without an unknown field, in old and current versions."""
    settings = KubernetesSettings.model_validate(
        {
            "pull_secrets": ["a"],
            "priority_class": "b",
            "node_selector": {"c": "d"},
            "tolerations": [{"key": "e", "effect": "NoSchedule"}],
            "user_namespaces": version != "1.25",
        }
    )
    made = pod_request(SPEC, EngineSettings(runtime="gvisor"), settings, "binderlet")
    kubernetes_validate.validate(made, version, strict=True)


def test_rights_are_few() -> None:
    """The account may do what the engine does with pods, and nothing in the whole cluster."""
    assert one("Role")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    ]
    assert not [each["kind"] for each in manifests() if each["kind"].startswith("Cluster")]


def test_sessions_are_what_is_selected() -> None:
    """Network policy and disruption budget select exactly what the engine labels."""
    for kind, key in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        assert one(kind)["spec"][key]["matchLabels"] == {**SESSION_LABELS, "binderlet.instance": "binderlet"}
    assert SESSION_LABELS[PART_LABEL] == "session"


def test_sessions_reach_nothing_private() -> None:
    """Private networks and cloud metadata are closed, and nobody reaches sessions who is not listed."""
    spec = one("NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    internet = spec["egress"][1]["to"][0]["ipBlock"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(internet["except"])
    assert spec["ingress"][0]["from"] == [{"ipBlock": {"cidr": "255.255.255.255/32"}}]


def test_sessions_go_first() -> None:
    """Sessions have a priority below what has none, and push nothing out."""
    priority = one("PriorityClass")
    assert (priority["value"] < 0, priority["preemptionPolicy"]) == (True, "Never")


def test_default_values_fit_their_schema() -> None:
    """The chart's own values are valid, and a misspelt one is not."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError, match="quotas"):
        jsonschema.validate({**values, "sessions": {"quotas": {}}}, schema)


def test_every_value_is_explained() -> None:
    """The schema knows exactly the values that the file has, each under a comment or beside others that explain it."""

    def keys(entry: dict[str, Any], schema: dict[str, Any]) -> None:
        assert set(schema["properties"]) - {"global"} == set(entry)
        for name, value in entry.items():
            if isinstance(value, dict) and value:
                keys(value, schema["properties"][name])

    schema = json.loads((CHART / "values.schema.json").read_text())
    keys(yaml.safe_load((CHART / "values.yaml").read_text()), schema)


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_manifests_are_those_of_the_chart() -> None:
    """The plain manifests are what the chart gives."""
    made = subprocess.run([ROOT / "manifests" / "generate"], check=True, capture_output=True, text=True).stdout
    assert made == MANIFESTS.read_text(), "run deploy/manifests/generate >src/binderlet/deploy/manifests/binderlet.yaml"


@pytest.mark.timeout(60)
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("version", VERSIONS)
def test_everything_fits_the_schema(version: str) -> None:
    """With everything switched on, what the chart gives is valid, and the helper's program is in it."""
    values = ["nodeAgent.enabled=true", "nodeAgent.token=abcdefghijklmnopqrst", "sessions.registryPassword=x"]
    chosen = [part for value in values for part in ("--set", value)]
    done = subprocess.run(["helm", "template", "x", CHART, *chosen], check=True, capture_output=True, text=True)
    made = list(yaml.safe_load_all(done.stdout))
    for each in made:
        kubernetes_validate.validate(each, version, strict=True)
    program = next(each for each in made if each["kind"] == "ConfigMap")["data"]
    source = ROOT.parent / "src" / "binderlet" / "engine" / "kubernetes_agent.py"
    assert program["kubernetes_agent.py"].strip() == source.read_text().strip()


def builders(version: str, *values: str) -> list[dict[str, Any]]:
    """Give what the chart makes for builders in a version of Kubernetes."""
    chosen = [part for value in ("builders.enabled=true", "builders.image=b:1", *values) for part in ("--set", value)]
    command = ["helm", "template", "x", str(CHART), "--kube-version", version, "-s", "templates/builders.yaml", *chosen]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.timeout(60)
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("version", VERSIONS)
def test_builders_fit_the_schema(version: str) -> None:
    """Builder pods are valid, with a folder or a volume for their cache, and with user namespaces."""
    more = ("builders.cache.persistent=true", "builders.cache.storageClass=fast", "builders.registryPassword=x")
    for values in ((), (*more, "builders.egressTo={10.0.0.7/32}")):
        for each in builders(version, *values):
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize(("values", "user"), [((), 2000), (("builders.userNamespaces=true",), 2001)])
def test_builders_may_little(values: tuple[str, ...], user: int) -> None:
    """They are never root, have two capabilities, no account, no writable image, no port, and limits."""
    made = builders("1.33", *values)
    pod = next(each for each in made if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (user, True)
    assert pod["automountServiceAccountToken"] is False
    assert pod.get("hostUsers", True) is not bool(values)
    [container] = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["SETUID", "SETGID"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "ports" not in container
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert {"name": "BINDERLET_CACHE_BYTES", "value": str(30 * 1024**3)} in container["env"]
    assert {"name": "cache", "emptyDir": {"sizeLimit": "30Gi"}} in pod["volumes"]
    assert not any("hostPath" in volume for volume in pod["volumes"])
    policy = next(each for each in made if each["kind"] == "NetworkPolicy")["spec"]
    assert policy["ingress"] == []
    assert "10.0.0.0/8" in policy["egress"][-1]["to"][0]["ipBlock"]["except"]
    rules = next(each for each in made if each["kind"] == "Role")["rules"]
    assert [(rule["resources"], rule["verbs"]) for rule in rules] == [
        (["pods"], ["get", "list"]),
        (["pods/exec"], ["create", "get"]),
    ]


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_builders_are_what_is_looked_for() -> None:
    """The labels are those by which the control plane finds its builders."""
    template = next(each for each in builders("1.33") if each["kind"] == "StatefulSet")["spec"]["template"]
    wanted = dict(pair.split("=") for pair in selector("binderlet").split(","))
    assert wanted.items() <= template["metadata"]["labels"].items()
    assert template["spec"]["containers"][0]["name"] == CONTAINER


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("sessions.quotas.pods=3", "quotas"),
        ("sessions.quota.pods=many", "quota"),
        ("instance=Has Spaces", "instance"),
        ("builders.enabled=true", "builders.image"),
    ],
)
def test_wrong_values_are_refused(values: str, said: str) -> None:
    """Helm refuses a value that is misspelt or wrong, and names it."""
    done = subprocess.run(
        ["helm", "template", "x", CHART, "--set", values], check=False, capture_output=True, text=True
    )
    assert done.returncode
    assert said in done.stderr


PAIR = [
    "controlPlane.enabled=true",
    "controlPlane.image=binderlet:1",
    "controlPlane.secrets.BINDERLET_SECURITY__BUILD_TOKEN_SECRET=ab",
    "controlPlane.service.type=LoadBalancer",
    "controlPlane.ingress.host=binder.example.org",
    "controlPlane.ingress.className=nginx",
    "controlPlane.ingress.tlsSecret=certificate",
    "controlPlane.priorityClassName=system",
    "controlPlane.imagePullSecrets={a}",
]


def pair(*values: str) -> list[dict[str, Any]]:
    """Give what the chart makes with the control plane in the cluster."""
    chosen = [part for value in (*PAIR, *values) for part in ("--set", value)]
    done = subprocess.run(["helm", "template", "x", CHART, *chosen], check=True, capture_output=True, text=True)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.mark.timeout(60)
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("version", VERSIONS)
def test_control_planes_fit_the_schema(version: str) -> None:
    """With the control plane in the cluster and all of its choices, what the chart gives is valid."""
    for each in pair():
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.timeout(60)
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_control_planes_have_no_privileges() -> None:
    """No root, no capability, no writable image; few rights beside sessions; and no token for outside."""
    made = pair()
    deployment = next(each for each in made if each["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    rights = next(
        each for each in made if each["kind"] == "Role" and each["metadata"]["name"] == "binderlet-control-plane"
    )
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in rights["rules"]] == [
        (["leases"], None, ["create"]),
        (["leases"], ["binderlet"], ["get", "update"]),
        (["pods"], None, ["list"]),
    ]
    assert "binderlet-token" not in [each["metadata"]["name"] for each in made]


@pytest.mark.timeout(60)
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_control_planes_replace_each_other() -> None:
    """Two pods, on two nodes where there are, one more while they are replaced, and a drain takes one at a time."""
    made = pair()
    deployment = next(each for each in made if each["kind"] == "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["rollingUpdate"]) == (
        2,
        {"maxSurge": 1, "maxUnavailable": 0},
    )
    labels = deployment["template"]["metadata"]["labels"]
    assert {"app.kubernetes.io/component": PART, "binderlet.instance": "binderlet"}.items() <= labels.items()
    budget = next(
        each
        for each in made
        if each["kind"] == "PodDisruptionBudget" and each["metadata"]["name"] == "binderlet-control-plane"
    )
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["selector"]["matchLabels"]) == (1, labels)
    (policy,) = [each for each in made if each["kind"] == "NetworkPolicy" and "sessions" in each["metadata"]["name"]]
    assert {"podSelector": {"matchLabels": labels}}.items() <= policy["spec"]["ingress"][0]["from"][1].items()


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("controlPlane.image=", "k3s image"),
        ("controlPlane.secrets=null", "openssl rand"),
        ("controlPlane.drain=1", "drain"),
    ],
)
def test_control_planes_that_could_not_run(value: str, said: str) -> None:
    """What is missing is named, with what makes it."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        pair(value)
    assert said in caught.value.stderr
