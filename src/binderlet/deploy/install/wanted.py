"""What the operator asks for, and where things go on the machine. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from binderlet.errors import ConfigError

HOME = PurePosixPath("/opt/binderlet")
STATE = PurePosixPath("/var/lib/binderlet")
CONFIG = PurePosixPath("/etc/binderlet/binderlet.toml")
CURRENT = HOME / "current"
"""A link to the release that runs."""
BINDERLET = CURRENT / "bin" / "binderlet"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One service on one machine."""

    domain: str
    """Host name that visitors type; empty for plain http at the machine's address."""
    email: str = ""
    https: bool = True
    """Whether certificates are got by ACME; needs a domain."""
    firewall: bool = True
    swap: bool = True
    updates: bool = True
    """Whether Debian's security updates are installed unattended."""
    ssh_port: int = 22
    """Stays open in the firewall."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """More settings by dotted key, such as ``federation.member``."""

    @property
    def has_storage(self) -> bool:
        """Whether images are to be kept in object storage."""
        return bool(self.settings.get("registry.s3.endpoint"))

    def as_json(self) -> str:
        """Write it down, for an upgrade."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Wanted:
        """Read what ``as_json`` wrote; what only other releases know is left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in json.loads(text).items() if key in known})

    @property
    def url(self) -> str:
        """Where visitors reach it; empty where there is no domain."""
        if not self.domain:
            return ""
        return f"{'https' if self.https else 'http'}://{self.domain}/"


def storage(url: str, environ: Mapping[str, str]) -> dict[str, object]:
    """Give the settings for images in a bucket, ``https://HOST/BUCKET``; none where there is no URL.

    Raises:
        ConfigError: the URL has no bucket, or the keys are not in the environment.
    """
    if not url:
        return {}
    parts = urlsplit(url)
    bucket = parts.path.strip("/")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not bucket or "/" in bucket:
        raise ConfigError(
            f"--s3: {url!r} is not https://HOST/BUCKET.", hint="Write the storage's URL, then the bucket."
        )
    keys = {"access_key": environ.get("AWS_ACCESS_KEY_ID"), "secret_key": environ.get("AWS_SECRET_ACCESS_KEY")}
    if not all(keys.values()):
        raise ConfigError(
            "--s3: the bucket's keys are missing.", hint="Export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    found = {"endpoint": f"{parts.scheme}://{parts.netloc}/", "bucket": bucket, **keys}
    if region := environ.get("AWS_REGION"):
        found["region"] = region
    return {f"registry.s3.{name}": value for name, value in found.items()}


def settings_file(wanted: Wanted) -> str:
    """Give the settings as TOML; written once, and then the operator's own to change."""
    tables: dict[str, dict[str, object]] = {"server": {"port": 80}, "paths": {"state": str(STATE)}}
    if wanted.url:
        tables["server"]["public_url"] = wanted.url
    if wanted.domain and wanted.https:
        tables["https"] = {"mode": "acme", "email": wanted.email}
    # What 'binderlet check' launches.
    tables["providers.git"] = {"local_folders": [str(STATE / "example")]}
    for key, value in wanted.settings.items():
        table, _, name = key.rpartition(".")
        tables.setdefault(table, {})[name] = value
    parts = [
        f"[{table}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
        for table, keys in tables.items()
    ]
    return (
        "# 'binderlet config docs' explains every key, 'binderlet config check' checks this file.\n"
        "# After a change: systemctl restart binderlet\n\n" + "\n".join(parts)
    )


def _toml(value: object) -> str:
    # JSON's strings, numbers, booleans and flat lists are TOML's too.
    return json.dumps(value, ensure_ascii=False)
