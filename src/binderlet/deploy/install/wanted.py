"""What the operator asks for, and where things go on the machine. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

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
    def url(self) -> str:
        """Where visitors reach it; empty where there is no domain."""
        if not self.domain:
            return ""
        return f"{'https' if self.https else 'http'}://{self.domain}/"


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
