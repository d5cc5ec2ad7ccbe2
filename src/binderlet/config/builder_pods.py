"""Settings of builds inside a Kubernetes cluster."""

from __future__ import annotations

from pydantic import Field

from binderlet.config.section import Section
from binderlet.config.units import Duration


class BuilderPodsSettings(Section):
    """Builds by pods of the cluster, which the Helm chart runs; where engine.kind is kubernetes."""

    namespace: str = Field(
        "",
        description="Namespace of the builder pods: the chart's builders.namespace. Images are built there, without a "
        "container engine on this machine, and pushed to registry.url. Empty: this machine's engine builds.",
    )
    wait: Duration = Field(
        120.0, ge=0, description="How long a build waits while no builder pod is ready, before it is refused for now."
    )
    attempts: int = Field(
        2, ge=1, description="Builder pods that a build is tried on, where one after the other goes away under it."
    )
    reconnect: Duration = Field(
        120.0,
        ge=0,
        description="How long a build's connection through the cluster's API server may be away before the build is "
        "given up; it goes on in its pod meanwhile.",
    )
