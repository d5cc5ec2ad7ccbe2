"""The chart's values from a settings file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import yaml

from binderlet.config.load import load
from binderlet.config.schema import Settings
from binderlet.deploy.cluster_values import TOKEN_SECRET, as_yaml, split, values_of

SCHEMA = Path(__file__).parents[2] / "deploy" / "helm" / "binderlet" / "values.schema.json"
SETTINGS = {
    "server": {"public_url": "https://binder.example.org", "port": 9999, "instance": "mine"},
    "https": {"mode": "acme", "domains": ["binder.example.org"]},
    "limits": {"sessions": 77},
    "session": {"environment": {"MY_TOKEN": "hidden-1"}, "cpus": 6},
    "registry": {"url": "https://registry.example.org/b", "username": "u", "password": "hidden-2"},
    "network": {
        "index_url": "https://u:hidden-3@index.example.org/simple",
        "extra_index_urls": ["https://u:hidden-4@x/"],
    },
    "kubernetes": {"kubeconfig": "/etc/kubeconfig", "memory_request": "200M", "namespace": "mine-sessions"},
    "paths": {"state": "/elsewhere"},
    "pages": {"title": 'Quote " and\nline'},
}


def test_the_same_settings_in_a_pod(tmp_path: Path) -> None:
    """File and variables together are the settings that they were made of, but for what is a pod's own."""
    values = values_of(Settings.model_validate(SETTINGS), "i:1", "ab" * 16)
    own = values["controlPlane"]
    file = tmp_path / "binderlet.toml"
    file.write_text(own["settings"])
    loaded = load(file, environ=own["secrets"]).settings
    expected = Settings.model_validate(
        {
            **{name: SETTINGS[name] for name in ("limits", "session", "registry", "network", "pages")},
            "server": {"public_url": "https://binder.example.org"},
            "kubernetes": {"memory_request": "200M"},
            "security": {"build_token_secret": "ab" * 16},
        }
    )
    assert loaded == expected
    assert (values["instance"], values["sessions"]["namespace"]) == ("mine", "mine-sessions")
    assert values["sessions"]["quota"] == {"pods": 77}
    assert values["sessions"]["maximum"] == {"memory": str(8 * 1024**3), "cpu": "6"}


def test_secrets_are_in_no_file() -> None:
    """Passwords, also those in URLs and in variables of sessions, are in the Secret alone."""
    plain, secrets = split(Settings.model_validate(SETTINGS))
    assert "hidden" not in str(plain)
    assert [value.count("hidden") for value in secrets.values()] == [1, 1, 1, 1]


def test_the_settings_own_token_secret() -> None:
    """What the settings sign build tokens with goes before what the machine has."""
    values = values_of(Settings.model_validate({"security": {"build_token_secret": "cd" * 16}}), "i:1", "ab" * 16)
    assert values["controlPlane"]["secrets"] == {TOKEN_SECRET: "cd" * 16}
    assert values["sessions"]["quota"] == {"pods": 500}
    assert tomllib.loads(values["controlPlane"]["settings"]) == {}


def test_helpers_of_nodes() -> None:
    """Where the settings know the word of the nodes' helpers, the chart runs these helpers with it."""
    settings = Settings.model_validate({"kubernetes": {"agents_namespace": "binder", "agents_token": "w" * 20}})
    assert values_of(settings, "i:1", "ab" * 16)["nodeAgent"] == {"enabled": True, "token": "w" * 20}


def test_the_chart_takes_them() -> None:
    """They fit the chart's schema, and read well."""
    values = values_of(Settings.model_validate(SETTINGS), "i:1", "ab" * 16, builder_image="b:2", ca_bundle="PEM\n")
    assert values["controlPlane"]["caBundle"] == "PEM\n"
    assert values["builders"] == {"enabled": True, "namespace": "binderlet-builders", "image": "b:2", "replicas": 2}
    text = as_yaml(values)
    assert yaml.safe_load(text) == values
    assert "settings: |" in text
    schema = json.loads(SCHEMA.read_text())
    for name in ("controlPlane", "sessions", "builders"):
        part = {**schema["properties"][name], "definitions": schema["definitions"]}
        jsonschema.validate(values[name], part)
