"""Values that are checked as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from binderlet.config.section import (
    AbsolutePath,
    AddressRange,
    FilePath,
    HexadecimalSecret,
    RegularExpression,
    Section,
    SiteAddress,
    Subnet,
    WebAddress,
)


class Everything(Section):
    """One key of each kind."""

    address: WebAddress = ""
    site: SiteAddress = ""
    path: AbsolutePath = Path("/")
    file: FilePath = ""
    subnet: Subnet = ""
    addresses: AddressRange = "0.0.0.0/0"
    pattern: RegularExpression = ""
    secret: HexadecimalSecret = SecretStr("")


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("address", "https://b.example.org/x", "https://b.example.org/x/"),
        ("address", "", ""),
        ("site", "https://b.example.org:8443", "https://b.example.org:8443/"),
        ("site", "", ""),
        ("path", "/srv", Path("/srv")),
        ("file", "/etc/x.pem", "/etc/x.pem"),
        ("file", "", ""),
        ("subnet", "10.89.0.0/16", "10.89.0.0/16"),
        ("subnet", "", ""),
        ("addresses", "10.0.0.5", "10.0.0.5/32"),
        ("addresses", "fd00::/8", "fd00::/8"),
        ("pattern", "gh/.*", "gh/.*"),
        ("secret", "0123456789abcdef" * 2, SecretStr("0123456789abcdef" * 2)),
    ],
)
def test_accepted(key: str, value: str, kept: object) -> None:
    """A good value is kept, in its normal form."""
    assert getattr(Everything.model_validate({key: value}), key) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("address", "binder.example.org"),
        ("address", "https://x?query"),
        ("site", "https://b.example.org/binder/"),
        ("path", "relative"),
        ("file", "relative.pem"),
        ("subnet", "10.89.0.1/16"),
        ("addresses", ""),
        ("addresses", "lb.example.org"),
        ("pattern", "("),
        ("secret", "hunter2"),
        ("unknown", "x"),
    ],
)
def test_refused(key: str, value: str) -> None:
    """A bad value, or an unknown key, is refused."""
    with pytest.raises(ValidationError):
        Everything.model_validate({key: value})
