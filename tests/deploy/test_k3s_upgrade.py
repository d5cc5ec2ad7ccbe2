"""K3s is installed, restarted and followed: with an installer and programs that write down what they are told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from binderlet.config import Settings
from binderlet.deploy import k3s, k3s_upgrade
from binderlet.deploy.k3s_upgrade import (
    follow,
    installed_line,
    installed_role,
    line_of,
    place,
    program,
    set_up,
    units,
    upgrade,
)
from binderlet.errors import ConfigError, LaunchFailed
from support.k3s_node import Node

FROM_FOLDER = "INSTALL_K3S_EXEC=server INSTALL_K3S_FORCE_RESTART=true INSTALL_K3S_SKIP_DOWNLOAD=true"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A bare machine, whose downloads come from here."""
    made = Node(tmp_path, monkeypatch)
    monkeypatch.setattr(k3s_upgrade, "fetch_installer", lambda target: target.write_text(made.installer))
    return made


def changed(node: Node, **sections: object) -> list[k3s.File]:
    """Give what is to be written for a server of these settings."""
    return k3s.changed(k3s.files(Settings.model_validate(sections), 16 * 2**30), node.root)


def test_units() -> None:
    """Servers are upgraded a day before nodes; what was chosen at the installation is chosen again."""
    service, timer = units("server")
    assert f"ExecStart={program()} k3s upgrade\n" in service.text
    assert "OnCalendar=Sun 04:00" in timer.text
    service, timer = units("agent", channel="v1.33", folder=Path("/srv/my k3s"))
    assert 'k3s upgrade --channel=v1.33 "--from=/srv/my k3s"\n' in service.text
    assert "OnCalendar=Mon 04:00" in timer.text
    assert '"--from=/srv/100%%"' in units("agent", folder=Path("/srv/100%"))[0].text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd's own check of units")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """The units are in a form that systemd reads without complaint."""
    files = units("server", folder=tmp_path)
    for file in files:
        text = file.text.replace(f"ExecStart={program()}", "ExecStart=/bin/true")
        (tmp_path / file.path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / file.path.name) for file in files)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "binderlet-k3s" in line]
    assert ours == []


def test_program_outlives_our_own_upgrades() -> None:
    """An installed service is called by the name that leads to its newest release."""
    assert (
        str(program(Path("/opt/binderlet/releases/0.1.0-abc/bin/binderlet"))) == "/opt/binderlet/current/bin/binderlet"
    )
    assert program() == Path(sys.prefix) / "bin" / "binderlet"


def test_lines() -> None:
    """A release belongs to the line of its minor version."""
    assert line_of("k3s version v1.33.4+k3s1 (8a3cc3b)\ngo version go1.24") == "v1.33"
    assert line_of("no version") == ""


def test_install_from_the_internet(node: Node) -> None:
    """Kernel settings are loaded at once, and the installer learns what was asked for."""
    set_up("server", changed(node), channel="v1.33", root=node.root)
    sysctl, installer = node.told()
    assert sysctl == f"sysctl --quiet --load {node.root}/etc/sysctl.d/90-binderlet-k3s.conf"
    assert installer == "INSTALL_K3S_CHANNEL=v1.33 INSTALL_K3S_EXEC=server INSTALL_K3S_FORCE_RESTART=true"
    assert installed_role(node.root) == "server"
    assert installed_line(node.root) == "v1.33"
    set_up("server", changed(node), version="v1.33.9+k3s1", root=node.root)
    assert node.told() == ["INSTALL_K3S_EXEC=server INSTALL_K3S_VERSION=v1.33.9+k3s1"], "nothing changed: no restart"


def test_changed_settings_restart_it(node: Node) -> None:
    """K3s reads its settings when it starts; a restart that was interrupted is made up for."""
    set_up("server", changed(node), root=node.root)
    (node.root / "broken").touch()
    with pytest.raises(LaunchFailed):
        set_up("server", changed(node, session={"pids": 77}), root=node.root)
    (node.root / "broken").unlink()
    node.told()
    assert changed(node, session={"pids": 77}) == []
    set_up("server", [], root=node.root)
    assert "INSTALL_K3S_FORCE_RESTART=true" in node.told()[0]
    set_up("server", [], root=node.root)
    assert "INSTALL_K3S_FORCE_RESTART=true" not in node.told()[0]


def test_install_from_a_folder(node: Node) -> None:
    """Without internet the folder has all: program and images are placed, and the installer downloads nothing."""
    set_up("server", changed(node), folder=node.files, root=node.root)
    assert node.told()[1] == FROM_FOLDER
    assert (node.root / "usr/local/bin/k3s").stat().st_mode & 0o777 == 0o755
    images = node.root / "var/lib/rancher/k3s/agent/images/k3s-airgap-images.tar.zst"
    assert images.read_text() == "images of v1.33.4+k3s1"
    assert installed_line(node.root) == "v1.33"


def test_folder_that_lacks_something(node: Node) -> None:
    """It says what, before anything is placed."""
    (node.files / "k3s").unlink()
    with pytest.raises(ConfigError, match=r"lacks k3s\."):
        place(node.files, node.root)
    assert not (node.root / "usr").exists()


def test_no_place_for_files(node: Node) -> None:
    """A folder that cannot be made is told."""
    (node.root / "usr").touch()
    with pytest.raises(ConfigError, match="cannot be placed"):
        place(node.files, node.root)


def test_upgrade_from_a_folder(node: Node) -> None:
    """A new release in the folder is taken and started; the same one is left alone."""
    said = list[str]()
    set_up("server", changed(node), folder=node.files, root=node.root)
    node.told()
    upgrade("server", said.append, folder=node.files, root=node.root)
    assert (node.told(), said[-1]) == ([], "K3s is as in the folder already")
    node.bring("v1.33.5+k3s1")
    upgrade("server", said.append, folder=node.files, root=node.root)
    assert (node.told(), said[-1]) == ([FROM_FOLDER], "K3s is up to date")
    assert "v1.33.5" in node.program()
    assert sorted(path.name for path in (node.root / "usr/local/bin").iterdir()) == ["k3s"]


def test_upgrade_from_the_internet(node: Node) -> None:
    """It stays in the line that is installed, unless another channel is named."""
    set_up("agent", changed(node), root=node.root)
    node.told()
    upgrade(installed_role(node.root), lambda _: None, root=node.root)
    upgrade(installed_role(node.root), lambda _: None, channel="stable", root=node.root)
    assert node.told() == [
        "INSTALL_K3S_CHANNEL=v1.33 INSTALL_K3S_EXEC=agent",
        "INSTALL_K3S_CHANNEL=stable INSTALL_K3S_EXEC=agent",
    ]


@pytest.mark.parametrize("breaks", ["broken", "does-not-start"])
def test_upgrade_that_fails(node: Node, breaks: str) -> None:
    """A download that fails changes nothing; a release that does not start gives way to the one from before."""
    set_up("server", changed(node), folder=node.files, root=node.root)
    before, said = node.program(), list[str]()
    node.told()
    (node.root / breaks).touch()
    with pytest.raises(LaunchFailed):
        upgrade("server", said.append, root=node.root)
    assert node.program() == before
    assert (node.told()[1:] == ["systemctl restart k3s.service"]) == (breaks == "does-not-start")
    assert len(said) == (breaks == "does-not-start")
    assert sorted(path.name for path in (node.root / "usr/local/bin").iterdir()) == ["k3s"]


def test_upgrade_of_nothing(node: Node) -> None:
    """Without K3s it says what sets it up; a program that tells no version asks for a channel."""
    with pytest.raises(ConfigError, match="not installed"):
        installed_role(node.root)
    with pytest.raises(LaunchFailed) as caught:
        upgrade("server", lambda _: None, root=node.root)
    assert "--channel" in caught.value.hint


def test_following(node: Node) -> None:
    """The timer is switched on; where it is not wanted any more, it goes."""
    follow(wanted=False, root=node.root)
    assert node.told() == []
    k3s.apply(units("server"), node.root)
    follow(wanted=True, root=node.root)
    assert node.told() == ["systemctl daemon-reload", "systemctl enable --now binderlet-k3s-upgrade.timer"]
    follow(wanted=False, root=node.root)
    assert node.told() == ["systemctl disable --now binderlet-k3s-upgrade.timer", "systemctl daemon-reload"]
    assert list((node.root / "etc/systemd/system").iterdir()) == []
