"""How to reach a cluster, and who we are to it: a pod's service account, or a kubeconfig file. All of it blocks."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from binderlet.config.kubernetes import KubernetesSettings
from binderlet.errors import ConfigError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
K3S = Path("/etc/rancher/k3s/k3s.yaml")


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """One cluster and one identity; its representation shows no secret."""

    server: str
    """Base URL, without a slash at its end."""
    namespace: str
    tls: ssl.SSLContext | None
    """None for plain HTTP, such as ``kubectl proxy`` speaks."""
    server_name: str = ""
    """Name in the server's certificate, where it is not the URL's."""
    token: str = ""
    token_file: Path | None = None
    """Read again and again: the kubelet replaces the token in it before it expires."""

    def __repr__(self) -> str:
        return f"Access({self.server}, {self.namespace})"


def find_access(
    settings: KubernetesSettings, environment: Mapping[str, str] | None = None, *, account: Path = ACCOUNT
) -> Access:
    """Find the cluster: the setting, the pod's service account, ``KUBECONFIG``, then the usual files.

    Raises:
        ConfigError: there is none, or what was found cannot be used.
    """
    environment = os.environ if environment is None else environment
    if settings.kubeconfig:
        return read_kubeconfig(Path(settings.kubeconfig).expanduser(), settings)
    if (account / "token").exists() and environment.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(settings, environment, account)
    candidates = [Path(path) for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]
    candidates += [Path(environment.get("HOME", "/root")) / ".kube" / "config", K3S]
    for path in candidates:
        if path.is_file():
            return read_kubeconfig(path, settings)
    raise ConfigError(
        "kubernetes.kubeconfig: no cluster is known: this is no pod with a service account, and none of "
        f"{', '.join(map(str, candidates))} exists."
    )


def in_cluster(settings: KubernetesSettings, environment: Mapping[str, str], account: Path) -> Access:
    """Use the service account of the pod that this runs in.

    Raises:
        ConfigError: its files cannot be read.
    """
    host = environment["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
        namespace = settings.namespace or (account / "namespace").read_text().strip()
    except OSError as error:
        raise ConfigError(f"kubernetes: the service account in {account} cannot be used: {error}.") from error
    return Access(f"https://{host}:{port}", namespace, tls, token_file=account / "token")


def read_kubeconfig(path: Path, settings: KubernetesSettings) -> Access:
    """Use a context of a kubeconfig file.

    Raises:
        ConfigError: it cannot be read, or asks for something that is not supported here.
    """
    where = f"kubernetes.kubeconfig: {path}"
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{where} cannot be read: {error}.") from error
    try:
        context = _named(content, "contexts", settings.context or content["current-context"])["context"]
        cluster = _named(content, "clusters", context["cluster"])["cluster"]
        user = _named(content, "users", context["user"])["user"] if context.get("user") else {}
        if "exec" in user or "auth-provider" in user:
            raise ConfigError(
                f"{where}: its user gets credentials from another program, which is not supported here.",
                hint="Make a service account with a token for binderlet, and a kubeconfig file with that.",
            )
        return _access(path.parent, cluster, user, settings.namespace or context.get("namespace") or "default")
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ConfigError(f"{where} is not a kubeconfig file that makes sense: {error!r}.") from error
    except OSError as error:  # also ssl.SSLError
        raise ConfigError(f"{where}: its certificates cannot be used: {error}.") from error


def _named(content: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    found = next((one for one in content[kind] if one["name"] == name), None)
    if found is None:
        raise KeyError(f"there is no {name!r} in {kind}")
    entry: Mapping[str, Any] = found
    return entry


def _access(folder: Path, cluster: Mapping[str, Any], user: Mapping[str, Any], namespace: str) -> Access:
    server = str(cluster["server"]).rstrip("/")
    token_file = user.get("tokenFile")
    return Access(
        server,
        namespace,
        _tls(folder, cluster, user) if server.startswith("https") else None,
        server_name=cluster.get("tls-server-name", ""),
        token=user.get("token", ""),
        token_file=folder / token_file if token_file else None,
    )


def _tls(folder: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif (authority := _pem(folder, cluster, "certificate-authority")) is not None:
        # Only the cluster's own authority: the public ones have no say here.
        context = ssl.create_default_context(cadata=authority)
    certificate, key = _pem(folder, user, "client-certificate"), _pem(folder, user, "client-key")
    if certificate is not None and key is not None:
        with _as_files(certificate, key) as (certificate_path, key_path):
            context.load_cert_chain(certificate_path, key_path)
    return context


def _pem(folder: Path, entry: Mapping[str, Any], name: str) -> str | None:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data, validate=True).decode()
    return (folder / entry[name]).read_text() if entry.get(name) else None


@contextlib.contextmanager
def _as_files(certificate: str, key: str) -> Iterator[tuple[str, str]]:
    """Lay both in files that only we may read, as Python loads client certificates from files alone."""
    with tempfile.TemporaryDirectory(prefix="binderlet-") as folder:
        paths = (Path(folder, "certificate"), Path(folder, "key"))
        for path, text in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_text(text)
        yield str(paths[0]), str(paths[1])
