"""Networks that may not launch."""

from __future__ import annotations

import pytest

from binderlet.api.ban import BannedNetworks
from binderlet.errors import Banned

NETWORKS = BannedNetworks({"203.0.113.0/24": "a crawler", "2001:db8::/32": "a miner"})


@pytest.mark.parametrize(
    ("address", "label"),
    [("203.0.113.7", "a crawler"), ("::ffff:203.0.113.7", "a crawler"), ("2001:db8::1", "a miner")],
)
def test_banned(address: str, label: str) -> None:
    """Who is in one of them is told by its name."""
    with pytest.raises(Banned, match=f"Requests from {label} are not allowed"):
        NETWORKS.check(address)


@pytest.mark.parametrize("address", ["203.0.114.7", "2001:db9::1", "", "unix"])
def test_others(address: str) -> None:
    """Everyone else passes, and who has no address."""
    NETWORKS.check(address)
    BannedNetworks({}).check(address)
