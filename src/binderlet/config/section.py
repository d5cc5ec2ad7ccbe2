"""What sections of settings are made of: the base, and values that are checked as they are read."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr


def web_address(value: str) -> str:
    """Check an http or https URL, and end it with a slash; empty stays empty."""
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not a URL; write https://binder.example.org/")
    return value.rstrip("/") + "/"


def site_address(value: str) -> str:
    """Check the URL of a whole site: nothing but a host, and a port."""
    value = web_address(value)
    if urlsplit(value).path.strip("/"):
        raise ValueError(
            f"{value!r} has a path, but badges, sessions and the API are at the root of a host; give this service a "
            "name of its own, such as https://binder.example.org/"
        )
    return value


def subnet(value: str) -> str:
    """Check a subnet such as 10.89.0.0/16; empty stays empty."""
    if value:
        ipaddress.ip_network(value)
    return value


def address_range(value: str) -> str:
    """Check an address or subnet, and give it as a subnet."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is no address or subnet; write 10.0.0.5 or 10.0.0.0/24") from error


def regular_expression(value: str) -> str:
    """Check that a regular expression compiles."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is not a regular expression: {error}") from error
    return value


def hexadecimal(value: SecretStr) -> SecretStr:
    """Check a secret of at least 32 hexadecimal digits, without ever showing it; empty stays empty."""
    if value and re.fullmatch(r"([0-9a-fA-F]{2}){16,}", value.get_secret_value()) is None:
        raise ValueError("it is not 32 or more hexadecimal digits; 'openssl rand -hex 32' makes some")
    return value


def absolute(value: Path) -> Path:
    """Check that a path begins at the root."""
    if not value.is_absolute():
        raise ValueError(f"{str(value)!r} does not begin with /")
    return value


def file_path(value: str) -> str:
    """Check the path of a file, which begins at the root; empty stays empty."""
    return str(absolute(Path(value))) if value else ""


WebAddress = Annotated[str, AfterValidator(web_address)]
SiteAddress = Annotated[str, AfterValidator(site_address)]
AbsolutePath = Annotated[Path, AfterValidator(absolute)]
FilePath = Annotated[str, AfterValidator(file_path)]
Subnet = Annotated[str, AfterValidator(subnet)]
AddressRange = Annotated[str, AfterValidator(address_range)]
RegularExpression = Annotated[str, AfterValidator(regular_expression)]
HexadecimalSecret = Annotated[SecretStr, AfterValidator(hexadecimal)]


class Section(BaseModel):
    """One table of the TOML file: an unknown key is an error, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
