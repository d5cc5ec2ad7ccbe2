"""Settings of a control plane that is one of several, of which one leads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from binderlet.config.section import Section
from binderlet.config.units import Duration


class PairSettings(Section):
    """Several control planes for one cluster, of which one leads; the Helm chart sets all of it."""

    lease: str = Field(
        "", description="Name of the cluster's Lease by which they agree on who leads. Empty: this one is alone."
    )
    namespace: str = Field("", description="Namespace of the Lease. Empty: that of the pod that this runs in.")
    identity: str = Field("", description="Name of this one among them. Empty: the host's name, which is the pod's.")
    address: str = Field("", description="IP address at which the others reach this one's HAProxy.")
    port: int = Field(8586, ge=0, le=65535, description="Port of HAProxy for the others.")
    peers: list[str] = Field(
        [], description="The others' addresses and ports. Empty: found by the chart's labels of their pods."
    )
    lease_for: Duration = Field(
        10.0, ge=1, description="How long the one that leads may be silent before another takes over."
    )
    renew_every: Duration = Field(2.0, gt=0, description="How often the one that leads says that it does.")
    haproxy: Literal["started", "beside"] = Field(
        "started",
        description="started: by this program. beside: by somebody else, in a container of its own that shares the "
        "folder run in paths.state.",
    )

    @model_validator(mode="after")
    def _renewed_in_time(self) -> PairSettings:
        if self.renew_every * 3 > self.lease_for:
            raise ValueError("renew_every must be at most a third of lease_for")
        return self
