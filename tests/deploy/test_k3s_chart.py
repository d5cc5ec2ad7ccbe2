"""binderlet itself in a new K3s: what its Helm controller is given, and where the image lies."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from binderlet.config.schema import Settings
from binderlet.deploy.cluster_values import values_of
from binderlet.deploy.k3s_chart import IMAGES, chart_archive, chart_folder, image_in, manifests, place_image
from binderlet.errors import ConfigError

REGISTRY = {"registry": {"username": "u", "url": "https://r/", "password": "hidden"}}
VALUES = values_of(Settings.model_validate(REGISTRY), "binderlet:1", "ab" * 16, builder_image="builder:1")


def archive(path: Path, name: str = "binderlet:1") -> Path:
    """Write an archive of an image with that name, and nothing in it."""
    with tarfile.open(path, "w") as target:
        text = json.dumps([{"RepoTags": [name]}]).encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        target.addfile(member, io.BytesIO(text))
    return path


def test_what_k3s_applies() -> None:
    """A namespace, the secrets as a Secret, and the chart with these settings, in which they are not."""
    text = manifests(VALUES, chart_folder())
    namespace, secret, chart = yaml.safe_load_all(text)
    assert namespace["metadata"]["name"] == chart["spec"]["targetNamespace"] == secret["metadata"]["namespace"]
    assert secret["stringData"]["BINDERLET_REGISTRY__PASSWORD"] == "hidden"
    values = yaml.safe_load(chart["spec"]["valuesContent"])
    assert "hidden" not in chart["spec"]["valuesContent"]
    assert values["controlPlane"]["existingSecret"] == secret["metadata"]["name"]
    assert values["controlPlane"]["image"] == "binderlet:1"
    assert manifests(VALUES, chart_folder()) == text


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_helm_takes_it(tmp_path: Path) -> None:
    """The archive is a chart that Helm reads, with values that it takes."""
    _, _, chart = yaml.safe_load_all(manifests(VALUES, chart_folder()))
    (tmp_path / "binderlet.tgz").write_bytes(base64.b64decode(chart["spec"]["chartContent"]))
    (tmp_path / "values.yaml").write_text(chart["spec"]["valuesContent"])
    command = ["helm", "template", "binderlet", "binderlet.tgz", "--values", "values.yaml"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    kinds = [each["kind"] for each in yaml.safe_load_all(done.stdout) if each]
    assert {"Deployment", "Service", "PodDisruptionBudget", "ConfigMap"} <= set(kinds)


def test_chart_is_that_of_the_checkout() -> None:
    """Where nothing is installed the chart is beside the sources; links in it are followed."""
    with tarfile.open(fileobj=io.BytesIO(chart_archive(chart_folder()))) as packed:
        names = packed.getnames()
        program = packed.extractfile("binderlet/files/kubernetes_agent.py")
        assert program is not None
        assert b"def " in program.read()
    assert {"binderlet/Chart.yaml", "binderlet/templates/control-plane.yaml"} <= set(names)


def test_image_is_laid_once(tmp_path: Path) -> None:
    """It is copied in one step, again only when it is another."""
    root, first = tmp_path / "root", archive(tmp_path / "a.tar")
    assert place_image(first, root)
    assert not place_image(first, root)
    assert image_in(root / str(IMAGES)[1:] / "binderlet.tar") == "binderlet:1"
    assert place_image(archive(tmp_path / "b.tar", "binderlet:2"), root)
    assert [path.name for path in (root / str(IMAGES)[1:]).iterdir()] == ["binderlet.tar"]


def test_what_is_no_image(tmp_path: Path) -> None:
    """Anything else is refused by name, and so is a place that cannot be written."""
    (tmp_path / "x").write_text("nothing")
    with pytest.raises(ConfigError, match="no archive of an image"):
        image_in(tmp_path / "x")
    (tmp_path / "root").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        place_image(archive(tmp_path / "a.tar"), tmp_path / "root")
