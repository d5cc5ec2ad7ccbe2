"""How builds, sessions and git reach the network: from the settings, else from what this machine itself uses.

Pure: the environment and the files come in as arguments. What only makes sense on this machine (``file://``
indexes, folders of wheels, proxies on its loopback address) is left out of what containers get.
"""

from __future__ import annotations

import configparser
import ipaddress
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from binderlet.config.redact import redact_urls
from binderlet.config.schema import NetworkSettings
from binderlet.errors import ConfigError

Read = Callable[[Path], str | None]
"""Gives a file's text, or None where there is no such file or it cannot be read."""

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
"""Where a host says which certificates to trust, in the order they are asked; also what containers get."""
SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
PASSED_ON = (
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "PIP_TIMEOUT",
    "PIP_TRUSTED_HOST",
    "UV_EXCLUDE_NEWER",
    "UV_HTTP_TIMEOUT",
    "UV_INDEX_STRATEGY",
    "UV_INSECURE_HOST",
)
"""Variables of package tools that mean the same in a container as on this machine."""


@dataclass(frozen=True, slots=True)
class NetworkEnvironment:
    """What is needed to reach the network from here; empty where nothing special is.

    Proxies and indexes may hold passwords: ``repr`` masks them.
    """

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    ca_bundle: Path | None = None
    """PEM file on this machine."""
    index_url: str = ""
    """The Python package index; empty for PyPI."""
    extra_index_urls: tuple[str, ...] = ()
    conda_mirror: str = ""
    """Address that names of conda channels are put behind; empty for conda's own."""
    passed_on: Mapping[str, str] = field(default_factory=dict)
    """Variables of package tools that containers get as they are."""
    left_out: tuple[str, ...] = ()
    """Sentences: what this machine uses that containers cannot, for the doctor."""

    @property
    def urls(self) -> tuple[str, ...]:
        """What containers are told to use; it may be on a private network."""
        found = (self.http_proxy, self.https_proxy, self.index_url, *self.extra_index_urls, self.conda_mirror)
        return tuple(filter(None, found))

    def variables(self, ca_bundle: str = "") -> dict[str, str]:
        """Give a container's environment variables; ``ca_bundle`` is where the container has the certificates."""
        found = dict(self.passed_on)
        found.update(_proxy_variables(self, lambda url: not _is_loopback(url)))
        if self.index_url:
            found.update(UV_DEFAULT_INDEX=self.index_url, PIP_INDEX_URL=self.index_url)
        if self.extra_index_urls:
            extra = " ".join(self.extra_index_urls)
            found.update(UV_INDEX=extra, PIP_EXTRA_INDEX_URL=extra)
        if ca_bundle:
            found.update(dict.fromkeys((*CA_VARIABLES, "NODE_EXTRA_CA_CERTS"), ca_bundle))
        return found

    def clone_environment(self) -> dict[str, str]:
        """Give the environment variables for git on this machine."""
        found = _proxy_variables(self, lambda _: True)
        if self.ca_bundle is not None:
            found["GIT_SSL_CAINFO"] = str(self.ca_bundle)
        return found

    def __repr__(self) -> str:
        shown = {"http_proxy": self.http_proxy, "https_proxy": self.https_proxy, "index_url": self.index_url}
        fields = ", ".join(f"{name}={redact_urls(value)!r}" for name, value in shown.items())
        return f"NetworkEnvironment({fields}, no_proxy={self.no_proxy!r}, ca_bundle={str(self.ca_bundle)!r})"


def network_environment(settings: NetworkSettings, environ: Mapping[str, str], read: Read) -> NetworkEnvironment:
    """Work out the network environment; each value is the setting's, or else this machine's own.

    Raises:
        ConfigError: ``network.ca_bundle`` names a file that cannot be read.
    """
    pip = _pip_configuration(environ, read)
    uv = _uv_configuration(environ, read)
    index, extras, left_out = _indexes(settings, environ, pip, uv)
    proxies = {
        name: getattr(settings, name) or _either(environ, name) or pip.get("proxy", "")
        for name in ("http_proxy", "https_proxy")
    }
    left_out += [
        f"{name} {redact_urls(url)}: in a container that address is the container itself"
        for name, url in proxies.items()
        if _is_loopback(url)
    ]
    return NetworkEnvironment(
        **proxies,
        no_proxy=settings.no_proxy or _either(environ, "no_proxy"),
        ca_bundle=_ca_bundle(settings, environ, pip, read),
        index_url=index,
        extra_index_urls=extras,
        conda_mirror=(settings.conda_mirror or environ.get("CONDA_CHANNEL_ALIAS", "")).rstrip("/"),
        passed_on={name: environ[name] for name in PASSED_ON if environ.get(name)},
        left_out=tuple(left_out),
    )


def read_text(path: Path) -> str | None:
    """Give a file's text, or None where there is no such file or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _proxy_variables(found: NetworkEnvironment, keep: Callable[[str], bool]) -> dict[str, str]:
    values = {"http_proxy": found.http_proxy, "https_proxy": found.https_proxy}
    kept = {name: value for name, value in values.items() if value and keep(value)}
    if kept and found.no_proxy:
        kept["no_proxy"] = found.no_proxy
    return kept | {name.upper(): value for name, value in kept.items()}


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _ca_bundle(
    settings: NetworkSettings, environ: Mapping[str, str], pip: Mapping[str, str], read: Read
) -> Path | None:
    if settings.ca_bundle:
        path = Path(settings.ca_bundle)
        if read(path) is None:
            raise ConfigError(f"network.ca_bundle: {path} cannot be read.")
        return path
    named = [environ.get(name, "") for name in CA_VARIABLES]
    for name in (*named, pip.get("cert", ""), *SYSTEM_BUNDLES):
        if name and read(Path(name)) is not None:
            return Path(name)
    return None


def _indexes(
    settings: NetworkSettings, environ: Mapping[str, str], pip: Mapping[str, str], uv: Mapping[str, list[str]]
) -> tuple[str, tuple[str, ...], list[str]]:
    """Give the index, the extra indexes, and sentences on what is left out."""
    defaults = [
        environ.get("UV_DEFAULT_INDEX", ""),
        environ.get("UV_INDEX_URL", ""),
        environ.get("PIP_INDEX_URL", ""),
        *uv["default"],
        pip.get("index-url", ""),
    ]
    extras = (
        _words(environ, "UV_INDEX", "UV_EXTRA_INDEX_URL")
        or _words(environ, "PIP_EXTRA_INDEX_URL")
        or uv["extra"]
        or pip.get("extra-index-url", "").split()
    )
    links = dict.fromkeys([*_words(environ, "UV_FIND_LINKS", "PIP_FIND_LINKS"), *pip.get("find-links", "").split()])
    left_out = [f"find-links {redact_urls(link)}: containers use package indexes only" for link in links]
    index = settings.index_url or next(_usable(map(_without_name, defaults), left_out), "")
    usable = settings.extra_index_urls or _usable(map(_without_name, extras), left_out)
    return index, tuple(usable), left_out


def _words(environ: Mapping[str, str], *names: str) -> list[str]:
    return [word for name in names for word in environ.get(name, "").split()]


def _without_name(index: str) -> str:
    """Drop the name of ``name=https://...``, which uv allows."""
    name, separator, url = index.partition("=")
    return url if separator and "/" not in name else index


def _usable(urls: Iterable[str], left_out: list[str]) -> Iterator[str]:
    """Yield the URLs that containers can use, and say in ``left_out`` why the others are none."""
    for url in dict.fromkeys(filter(None, urls)):
        if urlsplit(url).scheme not in {"http", "https"}:
            left_out.append(f"index {url}: it is on this machine's disk, which containers do not see")
        elif _is_loopback(url):
            left_out.append(f"index {redact_urls(url)}: in a container that address is the container itself")
        else:
            yield url


def _is_loopback(url: str) -> bool:
    host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, not an address
        return False


def _pip_configuration(environ: Mapping[str, str], read: Read) -> dict[str, str]:
    """Give pip's own settings, later files over earlier ones, as pip reads them."""
    home = environ.get("HOME", "")
    config_home = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    paths = ["/etc/pip.conf"]
    paths += [f"{home}/.pip/pip.conf"] if home else []
    paths += [f"{config_home}/pip/pip.conf"] if config_home else []
    paths += [environ.get("PIP_CONFIG_FILE", "")]
    found: dict[str, str] = {}
    for text in (read(Path(path)) for path in paths if path):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text or "")
        except configparser.Error:
            continue  # pip will complain about it in its own words; nothing can be taken from it
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update(parser.items(section))
    return found


def _uv_configuration(environ: Mapping[str, str], read: Read) -> dict[str, list[str]]:
    """Give the indexes of uv's own settings, the user's file before the system's."""
    home = environ.get("HOME", "")
    config_home = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    paths = [environ.get("UV_CONFIG_FILE", "")]
    paths += [f"{config_home}/uv/uv.toml"] if config_home else []
    paths += ["/etc/uv/uv.toml"]
    found: dict[str, list[str]] = {"default": [], "extra": []}
    for text in (read(Path(path)) for path in paths if path):
        try:
            body = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError:
            continue  # uv will complain about it in its own words; nothing can be taken from it
        for table in (body, body.get("pip")):
            if isinstance(table, dict):
                _add_uv_indexes(table, found)
    return found


def _add_uv_indexes(table: Mapping[str, Any], found: dict[str, list[str]]) -> None:
    if isinstance(url := table.get("index-url"), str):
        found["default"].append(url)
    if isinstance(urls := table.get("extra-index-url"), list):
        found["extra"] += [url for url in urls if isinstance(url, str)]
    indexes = table.get("index")
    for index in indexes if isinstance(indexes, list) else []:
        if isinstance(index, dict) and isinstance(url := index.get("url"), str):
            found["default" if index.get("default") else "extra"].append(url)
