"""What may be written about proxies before this machine."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from binderlet.config.proxies import ProxySettings


def test_addresses_and_subnets() -> None:
    """Both are taken, of either family."""
    found = ProxySettings(trusted=["10.0.0.5", "10.1.0.0/24", "fd00::/8"], proxy_protocol=True)
    assert found.trusted == ["10.0.0.5/32", "10.1.0.0/24", "fd00::/8"]


@pytest.mark.parametrize("value", ["", "lb.example.org", "10.0.0.5/8", "10.0.0.5 } accept"])
def test_what_is_no_address(value: str) -> None:
    """Names are refused, with an example."""
    with pytest.raises(ValidationError, match=r"no address or subnet; write 10\.0\.0\.5"):
        ProxySettings(trusted=[value])


def test_proxy_protocol_of_nobody() -> None:
    """Somebody must be named: the protocol of a stranger would be believed otherwise."""
    with pytest.raises(ValidationError, match="name those who speak"):
        ProxySettings(proxy_protocol=True)
