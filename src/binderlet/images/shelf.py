"""Where images are kept that nodes of a cluster fetch by themselves (pure): one registry, two names for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit


def host_of(name: str) -> str:
    """Give the registry's host that an image's name, or a prefix of one, begins with; empty where it has none."""
    host, slash, _ = name.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else ""


def placed(url: str, name: str) -> str:
    """Give a name, or a prefix, with a registry's host and folder before it, unless it has a host of its own."""
    parts = urlsplit(url)
    return name if host_of(name) else f"{parts.netloc}{parts.path}{name}"


@dataclass(frozen=True, slots=True)
class Shelf:
    """The registry that images are pushed to."""

    host: str
    """Where pods and the control plane reach it."""
    known_as: str
    """What image names begin with, which is how nodes reach it; mostly the same."""
    folder: str = ""
    """Goes before names that have no host; ends in a slash, or is empty."""
    username: str = ""
    password: str = field(default="", repr=False)
    is_plain: bool = False
    """Whether it speaks HTTP without TLS."""

    def reference(self, name: str) -> str:
        """Give what pods call an image there."""
        ours = f"{self.known_as}/"
        return f"{self.host}/{name.removeprefix(ours) if name.startswith(ours) else self.folder + name}"
