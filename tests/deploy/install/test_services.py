"""The units of the service, read by systemd's own checker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from binderlet.deploy.install import services as module
from binderlet.deploy.install.services import Services

ALL = [Services("docker", registry=True), Services("docker"), Services("")]


def units(services: Services) -> dict[str, str]:
    """Give every unit by its file's name."""
    return {
        "binderlet.slice": module.SLICE,
        "binderlet-sessions.slice": module.SESSIONS,
        "binderlet-builds.slice": module.BUILDS,
        "binderlet.service": services.control_plane,
        "binderlet-haproxy.service": services.haproxy,
        "binderlet-registry.service": services.registry_unit,
        "binderlet-job@.service": services.job,
        "binderlet-job.socket": services.job_socket,
        "binderlet-helper.service": services.helper,
        "binderlet-helper.socket": services.helper_socket,
        "binderlet-backup.service": services.backup,
        "binderlet-backup.timer": module.BACKUP_TIMER,
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("services", ALL)
@pytest.mark.timeout(60)
def test_systemd_takes_them(services: Services, tmp_path: Path) -> None:
    """No key is unknown, in the wrong section, or has a value that is not understood."""
    texts = units(services)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert "Written by 'binderlet install'" in text
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in texts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "binderlet" in line]
    # The programs are not installed here.
    wrong = [line for line in ours if "not executable" not in line and "No such file" not in line]
    assert wrong == []


def test_who_runs_as_whom() -> None:
    """With an engine's group nothing but the helper is root; without, the control plane is, and asks nobody."""
    services = Services("docker")
    for text in (services.control_plane, services.job, services.backup):
        assert "\nUser=binderlet\nGroup=binderlet\n" in text
    assert "\nUser=haproxy\n" in services.haproxy
    assert "\nSupplementaryGroups=docker\n" in services.control_plane
    assert "SupplementaryGroups" not in services.haproxy + services.backup + services.registry_unit
    assert "BINDERLET_SYSTEM__HELPER=/run/binderlet/helper.sock" in services.control_plane
    alone = Services("")
    assert "\nUser=root\n" in alone.control_plane
    assert "HELPER" not in alone.control_plane
    assert "SupplementaryGroups" not in alone.control_plane


def test_what_waits_for_what() -> None:
    """The control plane starts after what serves beside it, and takes none of it along when it restarts."""
    with_registry = Services("docker", registry=True).control_plane
    assert "Wants=network-online.target binderlet-haproxy.service binderlet-registry.service" in with_registry
    assert "BINDERLET_SYSTEM__REGISTRY=true" in with_registry
    assert "registry" not in Services("docker").control_plane
    assert "Requires=" not in with_registry
    assert "PartOf=" not in with_registry


def test_folders_are_the_services_own() -> None:
    """HAProxy, of the group, may add sockets in its folder, and replace nothing there."""
    assert "d /var/lib/binderlet/run 1770 binderlet binderlet" in Services("docker").folders
    assert "d /var/lib/binderlet/registry 0700 root binderlet" in Services("").folders
