"""The Helm chart's values from a settings file: what runs on one machine runs in a cluster with the same file.

Secrets go where Kubernetes keeps secrets, as variables; what only a pod knows is left out, as the chart sets it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import SecretStr

from binderlet.config.dump import table_as_toml
from binderlet.config.keys import Key, keys
from binderlet.config.load import is_secret
from binderlet.config.schema import Settings

SESSIONS_NAMESPACE = "binderlet-sessions"
BUILDERS_NAMESPACE = "binderlet-builders"
PODS = 500
"""Of all sessions together, where ``limits.sessions`` says nothing."""
LARGEST_MEMORY, LARGEST_CPU = 8 * 1024**3, 4
"""What any session may have, where the settings do not give more."""
TOKEN_SECRET = "BINDERLET_SECURITY__BUILD_TOKEN_SECRET"  # noqa: S105 - a name
OF_THE_POD = ("paths.", "https.")
"""Sections that are this machine's business, or the chart's."""
OF_THE_CHART = {
    "server.host",
    "server.port",
    "server.instance",
    "engine.kind",
    "kubernetes.kubeconfig",
    "kubernetes.context",
    "kubernetes.namespace",
    "kubernetes.priority_class",
    "network.ca_bundle",
    "builder_pods.namespace",
    "pair.lease",
    "pair.namespace",
    "pair.identity",
    "pair.address",
    "pair.port",
    "pair.peers",
    "pair.haproxy",
}


def values_of(
    settings: Settings, image: str, token_secret: str, *, builder_image: str = "", ca_bundle: str = ""
) -> dict[str, Any]:
    """Give the chart's values.

    ``token_secret`` is what build tokens are signed with where the settings do not say; ``ca_bundle`` is what is in the
    file of ``network.ca_bundle``. With ``builder_image`` images are built in the cluster, too.
    """
    plain, secrets = split(settings)
    most = settings.limits.sessions or PODS
    values: dict[str, Any] = {
        "instance": settings.server.instance,
        "sessions": {
            "namespace": settings.kubernetes.namespace or SESSIONS_NAMESPACE,
            "quota": {"pods": most},
            "maximum": {
                "memory": str(max(settings.session.memory, LARGEST_MEMORY)),
                "cpu": f"{max(settings.session.cpus, LARGEST_CPU):g}",
            },
        },
        "controlPlane": {
            "enabled": True,
            "image": image,
            "settings": table_as_toml(plain),
            "secrets": {TOKEN_SECRET: token_secret} | secrets,
            **({"caBundle": ca_bundle} if ca_bundle else {}),
        },
    }
    if token := settings.kubernetes.agents_token.get_secret_value():
        values["nodeAgent"] = {"enabled": True, "token": token}
    if builder_image:
        namespace = settings.builder_pods.namespace or BUILDERS_NAMESPACE
        values["builders"] = {
            "enabled": True,
            "namespace": namespace,
            "image": builder_image,
            "replicas": settings.builder.concurrent,
        }
    return values


def split(settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """Give what is set but for secrets and what is a pod's own, and the secrets by their variables' names."""
    plain: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    values = settings.model_dump()
    for key in keys():
        value = _at(values, key.path)
        if value == _at(_DEFAULTS, key.path) or key.name in OF_THE_CHART or key.name.startswith(OF_THE_POD):
            continue
        if isinstance(value, SecretStr):
            secrets[key.environment] = value.get_secret_value()
        elif is_secret(value, key.path[-1]):
            secrets[key.environment] = value if isinstance(value, str) else json.dumps(value, default=str)
        else:
            _put(plain, key, value)
    return plain, secrets


_DEFAULTS: Mapping[str, Any] = Settings().model_dump()


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:  # noqa: ANN401 - what TOML can hold
    found: Any = values
    for part in path:
        found = found[part]
    return found


def _put(into: dict[str, Any], key: Key, value: object) -> None:
    for part in key.path[:-1]:
        into = into.setdefault(part, {})
    into[key.path[-1]] = value


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)


def as_yaml(values: Mapping[str, Any]) -> str:
    """Give a values file."""
    return yaml.dump(dict(values), Dumper=_Readable, sort_keys=False, width=120)
