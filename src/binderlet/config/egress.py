"""Settings of what sessions may reach on the network."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from binderlet.config.section import Section

ALL_PORTS = "all"
HIGHEST_PORT = 65535


def port_range(value: str) -> str:
    """Check a port such as 443, or a range of ports such as 1094-1095."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", value)
    if found is None or not 0 < int(found[1]) <= int(found[2] or found[1]) <= HIGHEST_PORT:
        raise ValueError(f"{value!r} is no port; write 443, or 1094-1095 for a range")
    return value


def split_destination(value: str) -> tuple[str, str]:
    """Give the subnet and the ports, or ``ALL_PORTS``, of a destination.

    Raises:
        ValueError: it is none.
    """
    try:
        return str(ipaddress.ip_network(value)), ALL_PORTS
    except ValueError:
        host, _, ports = value.rpartition(":")
    try:
        return str(ipaddress.ip_network(host.strip("[]"))), port_range(ports)
    except ValueError as error:
        raise ValueError(f"{value!r} is no destination; write 10.1.2.3, 10.1.0.0/16 or 10.1.2.3:5432") from error


def destination(value: str) -> str:
    """Check an address or subnet, with a port or a range of ports where only they are meant."""
    split_destination(value)
    return value


class EgressSettings(Section):
    """What sessions in this machine's Docker or Podman may reach; in a cluster its network policies say so."""

    mode: Literal["auto", "required", "off"] = Field(
        "auto",
        description="auto: the rules hold where this process, or the root helper, may set them by nftables. required: "
        "the service does not start where they cannot be set. off: sessions reach whatever this machine reaches.",
    )
    ports: list[Annotated[str, AfterValidator(port_range)]] = Field(
        ["80", "443", "9418", "873", "1094-1095", "16286", "4001"],
        description="TCP ports that sessions may reach on the internet, besides names by DNS; the default is "
        "mybinder.org's. Empty: all ports but those for sending mail, UDP too.",
    )
    allow: list[Annotated[str, AfterValidator(destination)]] = Field(
        [],
        description="Addresses or subnets that sessions may reach although they are private or this machine's, with "
        'a port or range of ports where only they are meant: ["10.1.2.3:5432", "10.4.0.0/16"].',
    )
    builds: bool = Field(
        default=True,
        description="Keep build steps from where providers tell a machine its user-data and keys (169.254.169.254 and "
        "the like), and so whatever else runs on the engine's default network.",
    )
