"""``binderlet k3s``; what it writes and looks at is tested with ``deploy/k3s.py`` and ``deploy/cluster_check.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from binderlet.clients.kubernetes_access import Access
from binderlet.deploy import cluster_check, k3s
from binderlet.deploy.cluster_check import Looked
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """An installer that writes down what it was told."""
    path = tmp_path / "install.sh"
    path.write_text('#!/bin/sh\nenv | grep ^INSTALL | sort >"$(dirname "$0")/told"\n')
    return path


def test_install(command: Command, tmp_path: Path, installer: Path) -> None:
    """Files are written, the installer runs, and the settings to use are printed; again, nothing is written."""
    arguments = ("k3s", "install", "--installer", str(installer), "--root", str(tmp_path / "root"))
    assert command(*arguments) == 0
    assert "writing /etc/rancher/k3s/config.yaml" in command.out
    assert 'kind = "kubernetes"' in command.out
    assert (tmp_path / "told").read_text() == "INSTALL_K3S_EXEC=server\nINSTALL_K3S_SKIP_DOWNLOAD=true\n"
    assert (tmp_path / "root/var/lib/rancher/k3s/server/manifests/binderlet.yaml").exists()
    assert command(*arguments) == 0
    assert "writing" not in command.out


def test_dry_run(command: Command, tmp_path: Path) -> None:
    """What would be written is shown, and nothing is done."""
    assert command("k3s", "install", "--dry-run", "--root", str(tmp_path / "root")) == 0
    assert "would write /etc/rancher/k3s/kubelet.yaml" in command.out
    assert "    failSwapOn: false" in command.out
    assert not (tmp_path / "root").exists()


def test_join(command: Command, tmp_path: Path, installer: Path) -> None:
    """A node gets the server's address and token; a dry run does not show the token."""
    (tmp_path / "token").write_text("K10secret\n")
    arguments = ["k3s", "join", "https://10.0.0.1:6443", "--token-file", str(tmp_path / "token")]
    arguments += ["--root", str(tmp_path / "root"), "--version", "v1.33.4+k3s1", "--installer", str(installer)]
    assert command(*arguments, "--dry-run") == 0
    assert "token: ..." in command.out
    assert "K10secret" not in command.out
    assert command(*arguments) == 0
    assert "token: K10secret\n" in (tmp_path / "root/etc/rancher/k3s/config.yaml").read_text()
    assert "INSTALL_K3S_EXEC=agent\n" in (tmp_path / "told").read_text()
    assert "INSTALL_K3S_VERSION=v1.33.4+k3s1\n" in (tmp_path / "told").read_text()


def test_installer_is_downloaded(
    command: Command, tmp_path: Path, installer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an installer of one's own, K3s's is fetched."""
    text = installer.read_text().replace('"$(dirname "$0")/told"', str(tmp_path / "told"))
    monkeypatch.setattr(k3s, "fetch_installer", lambda target: target.write_text(text))
    assert command("k3s", "install", "--root", str(tmp_path / "root")) == 0
    assert (tmp_path / "told").read_text() == "INSTALL_K3S_EXEC=server\n"


def test_files(command: Command) -> None:
    """What a machine without internet needs is listed."""
    assert command("k3s", "files", state=False) == 0
    assert "/usr/local/bin/k3s: the program" in command.out


@pytest.mark.parametrize("is_well", [True, False])
def test_check(command: Command, monkeypatch: pytest.MonkeyPatch, is_well: bool) -> None:  # noqa: FBT001 - a parameter
    """Each look is a line, with what to do where it went wrong; the exit code says whether all is well."""

    async def looks(*_: object) -> AsyncIterator[Looked]:
        yield Looked("version", ok=True, message="1.33.4")
        yield Looked("rights", ok=is_well, message="may not", hint="" if is_well else "Give it the role.")

    monkeypatch.setattr(cluster_check, "check_cluster", looks)
    monkeypatch.setattr(
        "binderlet.clients.kubernetes_access.find_access", lambda _settings: Access("http://127.0.0.1:9", "n", None)
    )
    assert command("k3s", "check") == (0 if is_well else 1)
    assert command.out.startswith("ok   version: 1.33.4\n")
    assert ("FAIL rights: may not\n     Give it the role.\n" in command.out) != is_well
