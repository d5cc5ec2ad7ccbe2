"""Networks whose requests are refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from binderlet.errors import Banned


class BannedNetworks:
    """``networks`` are subnets, each with what to call it."""

    def __init__(self, networks: Mapping[str, str]) -> None:
        self._networks = [(ipaddress.ip_network(subnet), label) for subnet, label in networks.items()]

    def check(self, address: str) -> None:
        """Let an address pass; what is no address passes too.

        Raises:
            Banned: it is in one of them.
        """
        if not self._networks:
            return
        try:
            visitor = ipaddress.ip_address(address)
        except ValueError:
            return
        if isinstance(visitor, ipaddress.IPv6Address) and visitor.ipv4_mapped is not None:
            visitor = visitor.ipv4_mapped
        for network, label in self._networks:
            if visitor in network:
                raise Banned(f"Requests from {label} are not allowed.")
