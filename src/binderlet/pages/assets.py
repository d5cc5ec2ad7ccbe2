"""Reads the templates and static files of the pages into memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import DictLoader

from binderlet.errors import ConfigError

HERE = Path(__file__).parent
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, with the hash that names its content."""

    body: bytes
    content_type: str
    version: str

    @property
    def etag(self) -> str:
        """The quoted hash."""
        return f'"{self.version}"'


def read_static(folder: Path = HERE / "static") -> dict[str, StaticFile]:
    """Read every static file; the keys are file names."""
    found: dict[str, StaticFile] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in CONTENT_TYPES:
            body = path.read_bytes()
            version = hashlib.sha256(body).hexdigest()[:16]
            found[path.name] = StaticFile(body, CONTENT_TYPES[path.suffix], version)
    return found


def read_logo(path: Path) -> StaticFile:
    """Read the logo of who gives the machine.

    Raises:
        ConfigError: it cannot be read, or is no picture that browsers show.
    """
    kind = CONTENT_TYPES.get(path.suffix.lower(), "")
    if not kind.startswith("image/"):
        raise ConfigError(f"sponsor.logo: {path} is neither SVG nor PNG.")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"sponsor.logo: {path} cannot be read: {error.strerror}.") from error
    return StaticFile(body, kind, hashlib.sha256(body).hexdigest()[:16])


def read_templates(folder: Path = HERE / "templates") -> DictLoader:
    """Read every template."""
    return DictLoader({path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.html"))})
