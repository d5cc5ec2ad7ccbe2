"""What the operator asks for, and where things go on the machine. Pure."""

from __future__ import annotations

import ipaddress
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from binderlet.errors import ConfigError

HOME = PurePosixPath("/opt/binderlet")
STATE = PurePosixPath("/var/lib/binderlet")
CONFIG = PurePosixPath("/etc/binderlet/binderlet.toml")
CURRENT = HOME / "current"
"""A link to the release that runs."""
BINDERLET = CURRENT / "bin" / "binderlet"
DEPLOYED = STATE.with_name("binderlet-deploy")
"""Where 'deploy' and 'cloud-init' put the program first."""
ASKED = DEPLOYED / "asked.json"
"""What they ask for, with keys: for root alone, and gone when it is done."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One service on one machine."""

    domain: str = ""
    """Host name that visitors type; empty for plain http at the machine's address."""
    email: str = ""
    https: bool = True
    """Whether certificates are got by ACME; needs a domain."""
    firewall: bool = True
    swap: bool = True
    updates: bool = True
    """Whether Debian's security updates are installed unattended."""
    ssh_port: int = 22
    """Stays open in the firewall, besides where ssh is seen to listen."""
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
        return cls().changed(json.loads(text))

    def changed(self, asked: Mapping[str, Any]) -> Wanted:
        """Give the same with what is asked for now; settings come on top of those from before."""
        known = {each.name for each in fields(self)} & asked.keys()
        settings = {**self.settings, **asked.get("settings", {})}
        return replace(self, **{**{key: asked[key] for key in known}, "settings": settings})

    @property
    def url(self) -> str:
        """Where visitors reach it; empty where there is no domain."""
        if given := self.settings.get("server.public_url"):
            return str(given)
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


def membership(url: str, domain: str) -> dict[str, object]:
    """Give the settings of a federation's member, whose launches are counted under its own name; none without URL."""
    if not url:
        return {}
    return {"federation.url": url, **({"archive.origin": domain} if domain else {})}


def check(wanted: Wanted) -> None:
    """See that the service would start with what is asked for.

    Raises:
        ConfigError: it would not; one line for each thing that is wrong, each with its key or option.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - what prints a plan alone does without

    from binderlet.config import Settings  # noqa: PLC0415
    from binderlet.config.https import host_name  # noqa: PLC0415
    from binderlet.config.problems import problems  # noqa: PLC0415

    if wanted.domain:
        try:
            host_name(wanted.domain)
        except ValueError as error:
            raise ConfigError(f"--domain: {error}.", hint="A name alone, without https:// and /.") from None
        if wanted.https and _is_address(wanted.domain):
            raise ConfigError("--domain: an address gets no certificate.", hint="Give a name, or --no-https.")
    try:
        Settings.model_validate(tomllib.loads(settings_file(wanted)))
    except tomllib.TOMLDecodeError:
        named = ", ".join(wanted.settings)
        raise ConfigError(f"--set: {named}: is not SECTION.KEY with a value that TOML has.") from None
    except ValidationError as error:
        raise ConfigError("\n".join(problems(error, {}))) from None  # its own text would show secrets


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def web_ports(wanted: Wanted) -> set[int]:
    """Give the ports by which visitors come, or may after a change of the settings."""
    more = (wanted.settings.get(key) for key in ("server.port", "https.port"))
    return {80, 443, *(port for port in more if isinstance(port, int))}


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


def unlike(wanted: Wanted, text: str) -> list[str]:
    """Name the keys that were asked for and are otherwise in a settings file; a broken file is told of elsewhere."""
    try:
        there = dict(_leaves(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return []
    asked = dict(_leaves(tomllib.loads(settings_file(wanted))))
    return [key for key, value in asked.items() if there.get(key) != value]


def _leaves(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _toml(value: object) -> str:
    # JSON's strings, numbers, booleans and flat lists are TOML's too.
    return json.dumps(value, ensure_ascii=False)
