"""What the chart needs, from the command line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from binderlet.deploy import k3s, k3s_upgrade, own_image
from binderlet.deploy.install import release
from support.command import Command


def archive(path: Path) -> Path:
    """Write an archive of an image, and nothing in it."""
    with tarfile.open(path, "w") as target:
        text = json.dumps([{"RepoTags": ["binderlet:1"]}]).encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        target.addfile(member, io.BytesIO(text))
    return path


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_values(command: Command, tmp_path: Path) -> None:
    """The same values each time, with this machine's own secret where the settings have none."""
    arguments = ("k3s", "values", "--image", "r/i:2")
    assert command(*arguments) == 0
    first = command.out
    found = yaml.safe_load(first)["controlPlane"]
    assert found["image"] == "r/i:2"
    kept = (tmp_path / "build-token-secret").read_text()
    assert found["secrets"] == {"BINDERLET_SECURITY__BUILD_TOKEN_SECRET": kept}
    assert command(*arguments) == 0
    assert command.out == first


def test_values_with_certificates(command: Command, tmp_path: Path) -> None:
    """Certificates are in the values, not only the name of their file; one that cannot be read is named."""
    (tmp_path / "ca.pem").write_text("PEM\n")
    name = f"network.ca_bundle={tmp_path / 'ca.pem'}"
    assert command("k3s", "values", "--builder-image", "b:1", "--set", name) == 0
    found = yaml.safe_load(command.out)
    assert (found["controlPlane"]["caBundle"], found["builders"]["image"]) == ("PEM\n", "b:1")
    (tmp_path / "ca.pem").unlink()
    assert command("k3s", "values", "--set", name) != 0
    assert "cannot be read" in command.err


@pytest.mark.parametrize("verb", ["values", "manifests"])
def test_bucket(command: Command, verb: str) -> None:
    """A registry that only this machine would reach is refused here, not by a pod that does not start."""
    s3 = ("endpoint=https://s3.example.org", "bucket=b", "access_key=a", "secret_key=s")
    chosen = [part for each in s3 for part in ("--set", f"registry.s3.{each}")]
    assert command("k3s", verb, *chosen) != 0
    assert "registry.url instead of registry.s3" in " ".join(command.err.split())


def test_manifests(command: Command, tmp_path: Path) -> None:
    """All of the chart with these settings and further values, or what sessions need alone."""
    (tmp_path / "more.yaml").write_text("controlPlane: {service: {type: LoadBalancer}}\n")
    chosen = ("--builder-image", "b:1", "--values", str(tmp_path / "more.yaml"), "--set", "limits.sessions=7")
    assert command("k3s", "manifests", *chosen) == 0
    found = {each["kind"]: each for each in yaml.safe_load_all(command.out)}
    assert found["Service"]["spec"]["type"] == "LoadBalancer"
    assert found["ResourceQuota"]["spec"]["hard"]["pods"] == "7"
    assert {"Deployment", "StatefulSet"} < set(found)
    assert command("k3s", "manifests", "--sessions-only", "--namespace", "ours", "--kubernetes", "1.20") == 0
    found = {each["kind"]: each for each in yaml.safe_load_all(command.out)}
    assert "Deployment" not in found
    assert found["ServiceAccount"]["metadata"]["namespace"] == "ours"
    assert found["PodDisruptionBudget"]["apiVersion"] == "policy/v1beta1"


def test_image(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This release, or the wheel that is given, is put into an image of the name."""
    made: list[tuple[Any, ...]] = []

    def make(release: object, _network: object, name: str, target: Path, *, sources: list[str]) -> str:
        made.append((release, name, target))
        return "sha256:0123456789abcdef"

    monkeypatch.setattr(own_image, "make", make)
    monkeypatch.setattr(release, "this_release", lambda _folder, wheel: wheel)
    (tmp_path / "w.whl").touch()
    assert command("k3s", "image", "out.tar", "--name", "b:3", "--wheel", "w.whl") == 0
    assert made == [(Path("w.whl"), "b:3", Path("out.tar"))]
    assert "out.tar: b:3" in command.out


def test_install_with_the_image(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare machine gets the image, the chart with these settings, and ports that lead to HAProxy's pods."""
    image = archive(tmp_path / "own.tar")
    folder, root = tmp_path / "from", tmp_path / "root"
    folder.mkdir()
    (folder / "install.sh").write_text("#!/bin/sh\n")
    arguments = ("k3s", "install", "--image", str(image), "--no-upgrades", "--root", str(root))
    assert command(*arguments, "--dry-run") == 0
    assert "would write /var/lib/rancher/k3s/agent/images/binderlet.tar: binderlet:1" in command.out
    assert not root.exists()
    told: list[list[k3s.File]] = []
    monkeypatch.setattr(k3s_upgrade, "set_up", lambda _role, wanted, **_: told.append(wanted))
    monkeypatch.setattr(k3s_upgrade, "follow", lambda *_: None)
    monkeypatch.setattr(k3s, "changed", lambda wanted, _root: wanted)
    assert command(*arguments) == 0
    assert "kubectl -n binder get pods" in command.out
    files = {str(file.path): file.text for file in told[0]}
    assert "servicelb" not in files["/etc/rancher/k3s/config.yaml"]
    assert "HelmChart" in files["/var/lib/rancher/k3s/server/manifests/binderlet-chart.yaml"]
    assert "/var/lib/rancher/k3s/server/manifests/binderlet.yaml" not in files
    assert (root / "var/lib/rancher/k3s/agent/images/binderlet.tar").exists()
    assert command(*arguments) == 0
    assert "binderlet.tar" not in command.out
