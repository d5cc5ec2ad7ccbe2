"""Settings of what stands between the visitors and this machine."""

from __future__ import annotations

from pydantic import Field, model_validator

from binderlet.config.section import AddressRange, Section


class ProxySettings(Section):
    """Load balancers and proxies that stand before this machine, and what they say of visitors."""

    trusted: list[AddressRange] = Field(
        [],
        description="Addresses or subnets of the proxies before this machine. From them alone X-Forwarded-For and "
        "X-Forwarded-Proto are believed: the visitor is the last address in it that is not a trusted one.",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="The trusted ones speak the PROXY protocol, version 1 or 2, as balancers of TCP connections do.",
    )

    @model_validator(mode="after")
    def _of_somebody(self) -> ProxySettings:
        if self.proxy_protocol and not self.trusted:
            raise ValueError("trusted: name those who speak the PROXY protocol")
        return self
