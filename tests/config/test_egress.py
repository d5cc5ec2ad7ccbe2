"""What may be written about the network of sessions."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from binderlet.config.egress import EgressSettings, port_range, split_destination


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.1.2.3", ("10.1.2.3/32", "all")),
        ("10.4.0.0/16", ("10.4.0.0/16", "all")),
        ("10.1.2.3:5432", ("10.1.2.3/32", "5432")),
        ("10.4.0.0/16:8000-8010", ("10.4.0.0/16", "8000-8010")),
        ("fd00::/8", ("fd00::/8", "all")),
        ("[fd00::1]:443", ("fd00::1/128", "443")),
    ],
)
def test_destinations(text: str, parts: tuple[str, str]) -> None:
    """An address or a subnet, with ports or all of them."""
    assert split_destination(text) == parts
    assert EgressSettings(allow=[text]).allow == [text]


@pytest.mark.parametrize(
    "text", ["", "db.example.org", "10.1.2.3:", "10.1.2.3:0", "10.1.2.3:x", "10.1.2.3/8", "[fd00::1]"]
)
def test_no_destinations(text: str) -> None:
    """Names and host bits are refused, with an example."""
    with pytest.raises(ValidationError, match=r"no destination; write 10\.1\.2\.3"):
        EgressSettings(allow=[text])


@pytest.mark.parametrize("text", ["0", "65536", "90-80", "80-", "x", "-1"])
def test_no_ports(text: str) -> None:
    """Numbers that are no ports, and ranges that end before they begin."""
    with pytest.raises(ValidationError, match="no port; write 443"):
        EgressSettings(ports=[text])
    assert port_range("1-65535") == "1-65535"
