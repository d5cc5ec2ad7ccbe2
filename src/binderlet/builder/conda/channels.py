"""Where conda's channels are (pure): names become addresses, of the operator's mirror if there is one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from binderlet.config.redact import redact_urls
from binderlet.errors import BadRepository

ALIAS = "https://conda.anaconda.org"
"""What conda puts before a channel's name."""
DEFAULTS = ("main", "r")
"""What ``defaults`` stands for."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*")
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@|/t/[^/\s]+(?=/|$)")
TOKEN = re.compile(r"(?<=/t/)[^/\s]+")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel."""

    name: str
    """For people: what the file says, without passwords."""
    url: str
    """May hold a password or token."""


def is_usable(name: str) -> bool:
    """Whether a channel is a name or a web address."""
    if re.match(r"https?://", name):
        return "$" not in name
    return NAME.fullmatch(name) is not None


def resolve(named: Sequence[str], ours: Sequence[str], mirror: str) -> list[Channel]:
    """Give the channels of a file, or ``ours`` where it names none.

    Raises:
        BadRepository: the repository names an address in this service's own network, which is the operator's to name.
    """
    asked = [name for name in named if name != "nodefaults"]
    found: list[Channel] = []
    for name in asked or ours:
        if re.match(r"https?://", name):
            url = _mirrored(name.rstrip("/"), mirror)
            if url not in {other.rstrip("/") for other in ours} and not (mirror and url.startswith(mirror)):
                _refuse_private(url)
            found.append(Channel(public(name), url))
            continue
        parts = DEFAULTS if name == "defaults" else (name,)
        found += [Channel(name, f"{(mirror or ALIAS).rstrip('/')}/{part}") for part in parts]
    return list(dict.fromkeys(found))


def place(spec: str, mirror: str) -> tuple[str, list[Channel]]:
    """Give ``channel::package`` with the channel's address, and that channel; other specs as they are.

    Raises:
        BadRepository: as for ``resolve``.
    """
    name, separator, rest = spec.partition("::")
    if not separator:
        return spec, []
    found = resolve([name.strip()], (), mirror)
    return f"{found[0].url}::{rest.strip()}", found


def locate(url: str, ours: Sequence[str], mirror: str) -> str:
    """Give a package's address with the password of the mirror or channel that it is on.

    Raises:
        BadRepository: it is in this service's own network, and none of the operator's.
    """
    url = _mirrored(url, mirror)
    for known in (mirror, *ours):
        plain = CREDENTIALS.sub("", known).rstrip("/")
        if plain.startswith("http") and url.startswith(f"{plain}/"):
            return known.rstrip("/") + url.removeprefix(plain)
    _refuse_private(url)
    return url


def public(text: str) -> str:
    """Mask passwords and tokens in addresses."""
    return TOKEN.sub("*****", redact_urls(text))


def _mirrored(url: str, mirror: str) -> str:
    """Give what an address of conda's own is called on the mirror."""
    if mirror and url.startswith(f"{ALIAS}/"):
        return mirror.rstrip("/") + url.removeprefix(ALIAS)
    return url


def _refuse_private(url: str) -> None:
    """Keep repositories from making this machine ask its neighbours."""
    host = urlsplit(url).hostname or ""
    try:
        is_private = not ipaddress.ip_address(host).is_global
    except ValueError:  # a name
        is_private = host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host
    if is_private:
        raise BadRepository(
            f"The channel {public(url)} is in this service's own network.",
            hint="The operator can allow it by builder.conda_channels or network.conda_mirror.",
        )
