"""binderlet itself in a new K3s: its Helm chart, which K3s's own Helm controller installs, and its image."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from binderlet.deploy.cluster_values import as_yaml
from binderlet.errors import ConfigError

IMAGES = Path("/var/lib/rancher/k3s/agent/images")
NAMESPACE = "binder"
SECRET = "binderlet-secrets"  # noqa: S105 - a name
CHART = "chart"
"""Where a wheel has it, beside this module."""


def chart_folder() -> Path:
    """Give the folder of the chart: in an installed release, or in a checkout."""
    installed = Path(str(resources.files("binderlet.deploy"))) / CHART
    return installed if installed.is_dir() else Path(__file__).parents[3] / "deploy" / "helm" / "binderlet"


def chart_archive(folder: Path) -> bytes:
    """Give a chart as Helm packs it, the same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = tarfile.TarInfo(f"binderlet/{path.relative_to(folder).as_posix()}")
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def manifests(values: dict[str, Any], folder: Path) -> str:
    """Give what K3s applies by itself: the chart with values of ``cluster_values``, and their secrets apart from it."""
    own = dict(values["controlPlane"])
    secrets = own.pop("secrets")
    own |= {"existingSecret": SECRET, "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}
    values = {**values, "controlPlane": own}
    wanted: list[Mapping[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
            "stringData": secrets,
        },
        {
            "apiVersion": "helm.cattle.io/v1",
            "kind": "HelmChart",
            "metadata": {"name": "binderlet", "namespace": "kube-system"},
            "spec": {
                "targetNamespace": NAMESPACE,
                "chartContent": base64.b64encode(chart_archive(folder)).decode(),
                "valuesContent": as_yaml(values),
            },
        },
    ]
    # Lines as long as they are: whoever shows this hides secrets by lines.
    return "---\n".join(yaml.safe_dump(dict(each), sort_keys=False, width=2**31) for each in wanted)


def image_in(archive: Path) -> str:
    """Give the name of the image in an archive; blocks.

    Raises:
        ConfigError: it is no archive of one image with a name.
    """
    try:
        with tarfile.open(archive) as opened:
            (entry,) = json.load(opened.extractfile("manifest.json"))  # type: ignore[arg-type]  # None fails, too
            return str(entry["RepoTags"][0])
    except (OSError, tarfile.TarError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{archive} is no archive of an image: {error!r}.", hint="'binderlet k3s image FILE' makes one."
        ) from error


def place_image(archive: Path, root: Path = Path("/")) -> bool:
    """Lay the image where K3s reads images as it starts, in one step; False if it is there already; blocks.

    Raises:
        ConfigError: it cannot be written.
    """
    target = root / IMAGES.relative_to("/") / "binderlet.tar"
    if target.exists() and (target.stat().st_size, image_in(target)) == (archive.stat().st_size, image_in(archive)):
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(".binderlet.new")
        shutil.copyfile(archive, new)
        new.replace(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.", hint="It needs root: use sudo.") from error
    return True
