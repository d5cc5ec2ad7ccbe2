"""The chart as plain manifests, for ``kubectl apply`` without Helm: its very templates, rendered here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from binderlet.deploy.template.evaluate import Renderer
from binderlet.deploy.template.parse import Template, parse
from binderlet.errors import ConfigError

VERSION = "1.33"
"""Of Kubernetes, where nobody says which."""
FIRST = ("Namespace", "PriorityClass", "ServiceAccount", "Secret", "ConfigMap")
"""Kinds that others need to be there."""
HELMS_OWN = re.compile(r"^ *helm\.sh/chart: .*\n", re.MULTILINE)
SEPARATOR = re.compile(r"^---\n", re.MULTILINE)
HEADER = """\
# binderlet as plain manifests; 'binderlet k3s manifests' makes them anew. Apply: kubectl apply -f FILE
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
"""


def manifests(
    values: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    name: str = "binder",
    namespace: str = "binder",
    version: str = VERSION,
) -> str:
    """Give the manifests of a chart's folder with these values, the last ones first, as Helm would make them.

    Raises:
        ConfigError: a value is not known, or one that is needed is missing, or the version is none.
    """
    number = _numbers(version)
    defaults = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    data = {
        "Values": merged(defaults, *values),
        "Release": {"Name": name, "Namespace": namespace, "Service": "manifests"},
        "Chart": {"Name": chart["name"], "Version": chart["version"]},
        "Capabilities": {"KubeVersion": {"Version": "v{}.{}.0".format(*number)}, "APIVersions": {"Has": _has(number)}},
        "Files": {"Get": lambda path: (folder / path).read_text(encoding="utf-8")},
    }
    files = [parse(path.read_text(encoding="utf-8")) for path in sorted((folder / "templates").glob("*.tpl"))]
    read = [parse(path.read_text(encoding="utf-8")) for path in sorted((folder / "templates").glob("*.yaml"))]
    renderer = Renderer(_defined([*files, *read]))
    texts = [each for one in read for each in SEPARATOR.split(renderer.render(one.body, data))]
    found = [HELMS_OWN.sub("", text).strip("\n") + "\n" for text in texts if yaml.safe_load(text)]
    return "---\n".join([HEADER.format(namespace=namespace), *sorted(found, key=_rank)])


def read_values(file: Path) -> dict[str, Any]:
    """Read a file of values.

    Raises:
        ConfigError: it cannot be read, or is no mapping in YAML.
    """
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file} has no values.", hint="The chart's values.yaml shows what they look like.")
    return found


def merged(defaults: Mapping[str, Any], *more: Mapping[str, Any]) -> dict[str, Any]:
    """Give the defaults with other values in their places, the last ones first; lists are replaced whole.

    Raises:
        ConfigError: a value has no default, so there is no such value.
    """
    found = dict(defaults)
    for values in more:
        _check(defaults, values, "")
        found = _over(found, values)
    return found


def _check(defaults: Mapping[str, Any], values: Mapping[str, Any], path: str) -> None:
    for key, value in values.items():
        if key not in defaults:
            raise ConfigError(f"{path}{key}: the chart has no such value.", hint="Its values.yaml has all of them.")
        if isinstance(default := defaults[key], Mapping) and not isinstance(value, Mapping):
            raise ConfigError(f"{path}{key}: must be a mapping.", hint="The chart's values.yaml shows of what.")
        if default and isinstance(default, Mapping):  # an empty one takes any key
            _check(default, value, f"{path}{key}.")


def _over(under: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(under)
    for key, value in values.items():
        below = found.get(key)
        found[key] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found


def _defined(files: list[Template]) -> dict[str, Any]:
    return {name: block for file in files for name, block in file.defined.items()}


def _numbers(version: str) -> tuple[int, int]:
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\..*)?", version)
    if found is None:
        raise ConfigError(f"{version!r} is no version of Kubernetes.", hint="Write it as 1.33.")
    return int(found[1]), int(found[2])


def _has(version: tuple[int, int]) -> Any:  # noqa: ANN401 - a function that templates call
    """Tell which of the API's versions that the templates ask for are in a version of Kubernetes."""
    known = {"policy/v1": version >= (1, 21), "policy/v1beta1/PodDisruptionBudget": version < (1, 25)}
    return lambda name: known[name]


def _rank(text: str) -> int:
    kind = yaml.safe_load(text)["kind"]
    return FIRST.index(kind) if kind in FIRST else len(FIRST)
