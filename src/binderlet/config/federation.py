"""Settings of a service that takes part in a federation, and of who pays for it."""

from __future__ import annotations

from pydantic import Field

from binderlet.config.section import Section, WebAddress
from binderlet.config.units import Duration


class FederationSettings(Section):
    """What a member of a federation does for the others; see docs/how-to/join-a-federation.md."""

    url: WebAddress = Field(
        "",
        description="The federation's address, such as https://mybinder.org/. It becomes the base of badges and links, "
        "and the launch host that sessions are told, unless server.badge_base_url says otherwise. Empty: none.",
    )
    mirror_versions: bool = Field(
        default=False,
        description="Answer /versions as the federation does, for redirectors that send launches only to members whose "
        "versions are equal.",
    )
    mirror_every: Duration = Field(15.0, gt=0, description="Time between two looks at the federation's versions.")


class SponsorSettings(Section):
    """Who gives the machine: thanked on every page and on social cards."""

    name: str = Field("", description="Name, such as Example Institute. Empty: nobody is named.")
    url: WebAddress = Field("", description="Where the name leads.")
    logo: str = Field("", description="File of the logo: SVG or PNG, about 40 pixels high.")
