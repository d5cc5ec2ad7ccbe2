"""Settings of sessions that run as pods of a Kubernetes cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from binderlet.config.section import Section
from binderlet.config.units import ByteSize, Duration


class Toleration(Section):
    """A taint of nodes on which sessions may run."""

    key: str = Field("", description="Key of the taint; empty with operator Exists means every taint.")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="How key and value are compared.")
    value: str = Field("", description="Value of the taint, where the operator is Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="Effect of the taint; empty means every effect."
    )


class KubernetesSettings(Section):
    """Sessions as pods of a cluster, where engine.kind is kubernetes."""

    kubeconfig: str = Field(
        "",
        description="File that says how to reach the cluster. Empty: the service account of the pod that this runs in, "
        "then KUBECONFIG, then ~/.kube/config, then K3s's own.",
    )
    context: str = Field("", description="Context of that file. Empty: its current one.")
    namespace: str = Field("", description="Where sessions run. Empty: the context's or pod's own namespace.")
    pull_policy: Literal["IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="Never: nodes use only images that were put on them by other means."
    )
    delivery: Literal["push", "import", "none"] = Field(
        "push",
        description="How images reach the nodes once they are built. push: to registry.url, or by the engine's own "
        "client to the registry that builder.image_prefix begins with. import: kubernetes.import_command. none: they "
        "are there already.",
    )
    import_command: list[str] = Field(
        ["k3s", "ctr", "images", "import", "-"],
        description="Program that takes an image as a tar archive on its standard input and puts it on the node; for "
        "one node, without a registry.",
    )
    pull_secrets: list[str] = Field([], description="Secrets of the namespace with passwords of registries.")
    priority_class: str = Field(
        "", description="Priority class of sessions; below the cluster's own services. Empty: the cluster's default."
    )
    node_selector: dict[str, str] = Field({}, description="Labels that nodes must have to run sessions.")
    tolerations: list[Toleration] = Field(
        [], description='Taints of nodes that sessions may run on: [{key = "binder", effect = "NoSchedule"}].'
    )
    memory_request: ByteSize = Field(
        450 * 1024**2,
        ge=0,
        description="Memory that the scheduler keeps for a session, at most its limit. Less puts more on a node.",
    )
    cpu_request: float = Field(0.01, ge=0, description="Cores that the scheduler keeps for a session.")
    room_timeout: Duration = Field(
        600.0, gt=0, description="How long a session waits for room on a node; time for an autoscaler to add one."
    )
    pull_timeout: Duration = Field(
        600.0, gt=0, description="How long a node may take to fetch an image and start the session from it."
    )
    pull_patience: Duration = Field(
        30.0, ge=0, description="How long fetching an image may go wrong, and be tried again, before the launch fails."
    )
    node_lost_after: Duration = Field(
        60.0, ge=0, description="How long a node may be silent before its sessions are given up."
    )
    user_namespaces: bool = Field(
        default=False,
        description="Run sessions in user namespaces of their own (hostUsers: false); needs Kubernetes 1.30 or newer.",
    )
    agents_namespace: str = Field(
        "",
        description="Namespace of the nodes' helpers, which push quiet sessions out to swap. Empty: only sessions on "
        "the control plane's own node hibernate.",
    )
    agents_token: SecretStr = Field(SecretStr(""), description="What opens the helpers: the chart's nodeAgent.token.")
    max_starting: int = Field(
        16, ge=1, description="Sessions started at the same time, where session.start_concurrency is 0."
    )
