"""``binderlet k3s``; what it writes and looks at is tested with ``deploy/k3s.py`` and its neighbours."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from binderlet.deploy import cluster_check, k3s_upgrade
from binderlet.finding import Finding
from support.command import Command
from support.k3s_node import Node


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capfd)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A bare machine."""
    return Node(tmp_path, monkeypatch)


def test_install(command: Command, node: Node) -> None:
    """Files are written, the installer runs, the timer starts, settings are printed; again, no file is written."""
    arguments = ("k3s", "install", "--from", str(node.files), "--root", str(node.root))
    assert command(*arguments) == 0
    assert "writing /etc/rancher/k3s/config.yaml" in command.out
    assert "writing /etc/systemd/system/binderlet-k3s-upgrade.timer" in command.out
    assert 'kind = "kubernetes"' in command.out
    assert [line.split()[0] for line in node.told()] == ["sysctl", "INSTALL_K3S_EXEC=server", "systemctl", "systemctl"]
    assert (node.root / "var/lib/rancher/k3s/server/manifests/binderlet.yaml").exists()
    assert command(*arguments) == 0
    assert "writing" not in command.out
    assert command(*arguments, "--no-upgrades") == 0
    assert node.told()[-2] == "systemctl disable --now binderlet-k3s-upgrade.timer"


def test_dry_run(command: Command, node: Node) -> None:
    """What would be written is shown, without secrets, and nothing is done."""
    registry = "registry.url=https://r.example.org/b/", "registry.username=me", "registry.password=very-secret"
    sets = [part for key in (*registry, "builder.image_prefix=r.example.org/i-") for part in ("--set", key)]
    assert command("k3s", "install", "--dry-run", "--root", str(node.root), *sets) == 0
    assert "would write /etc/rancher/k3s/kubelet.yaml" in command.out
    assert "    failSwapOn: false" in command.out
    assert "password: ..." in command.out
    assert "very-secret" not in command.out
    assert list(node.root.iterdir()) == []


def test_join(command: Command, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node gets the server's address and token; a dry run does not show the token."""
    monkeypatch.setattr(k3s_upgrade, "fetch_installer", lambda target: target.write_text(node.installer))
    (tmp_path / "token").write_text("K10secret\n")
    arguments = ["k3s", "join", "https://10.0.0.1:6443", "--token-file", str(tmp_path / "token")]
    arguments += ["--root", str(node.root), "--version", "v1.33.4+k3s1", "--channel", "v1.33"]
    assert command(*arguments, "--dry-run") == 0
    assert "token: ..." in command.out
    assert "K10secret" not in command.out
    assert command(*arguments) == 0
    assert "token: K10secret\n" in (node.root / "etc/rancher/k3s/config.yaml").read_text()
    assert "INSTALL_K3S_EXEC=agent INSTALL_K3S_FORCE_RESTART=true INSTALL_K3S_VERSION=v1.33.4+k3s1" in node.told()
    assert "--channel=v1.33" in (node.root / "etc/systemd/system/binderlet-k3s-upgrade.service").read_text()


def test_upgrade(command: Command, node: Node) -> None:
    """The node's role is found; on a machine without K3s it says so."""
    arguments = ("k3s", "upgrade", "--from", str(node.files), "--root", str(node.root))
    assert command(*arguments, state=False) == 2
    assert "K3s is not installed here" in command.err
    assert command("k3s", "install", "--from", str(node.files), "--root", str(node.root)) == 0
    node.bring("v1.33.5+k3s1")
    assert command(*arguments, state=False) == 0
    assert "up to date" in command.out
    assert "v1.33.5" in node.program()


def test_files(command: Command) -> None:
    """What a machine without internet needs is listed."""
    assert command("k3s", "files", state=False) == 0
    assert "k3s: the program of a release" in command.out
    assert "it goes to /usr/local/bin/k3s" in command.out
    assert "install.sh: the text of https://get.k3s.io\n" in command.out


@pytest.mark.parametrize("is_well", [True, False])
def test_check(command: Command, node: Node, monkeypatch: pytest.MonkeyPatch, is_well: bool) -> None:  # noqa: FBT001 - a parameter
    """Each look is a line, with what to do where it went wrong; the exit code says whether all is well."""
    well = Finding("rights", "ok", "all")
    looks = [Finding("cluster", "ok", "1.33.4"), well if is_well else Finding("rights", "fail", "may not", "Give it.")]
    monkeypatch.setattr(cluster_check, "look_at_cluster", lambda _settings: looks)
    assert command("k3s", "check", "--root", str(node.root)) == (0 if is_well else 1)
    assert command.out.startswith(" ok  cluster: 1.33.4\n")
    assert ("FAIL rights: may not\n       mend: Give it.\n" in command.out) != is_well


def test_dry_run_with_the_image(command: Command, tmp_path: Path) -> None:
    """With an image of binderlet its chart is shown instead of what prepares a cluster for sessions alone."""
    with tarfile.open(tmp_path / "own.tar", "w") as target:
        (tmp_path / "manifest.json").write_text('[{"RepoTags": ["binderlet:1"]}]')
        target.add(tmp_path / "manifest.json", "manifest.json")
    arguments = ["k3s", "install", "--image", str(tmp_path / "own.tar"), "--dry-run", "--root", str(tmp_path / "root")]
    arguments += ["--set", f"security.build_token_secret={'ab' * 60}"]
    assert command(*arguments) == 0
    assert "would write /var/lib/rancher/k3s/server/manifests/binderlet-chart.yaml" in command.out
    assert "Settings for binderlet.toml" not in command.out
    assert "BINDERLET_SECURITY__BUILD_TOKEN_SECRET: ..." in command.out
    assert "abab" not in command.out
