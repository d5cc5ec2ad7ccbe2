"""Files and programs of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.deploy.install import host as host_module
from binderlet.deploy.install.host import Host, InstallError


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    """A file gets text and mode, its folders are made, and nothing is left beside it."""
    host = Host(tmp_path)
    assert host.read("/etc/a/b") is None
    host.write("/etc/a/b", "one", 0o600)
    host.write("/etc/a/b", "two", 0o640)
    assert host.read("/etc/a/b") == "two"
    assert (tmp_path / "etc/a/b").stat().st_mode & 0o777 == 0o640
    assert [file.name for file in (tmp_path / "etc/a").iterdir()] == ["b"]


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The old one stays, nothing half-written does."""
    (tmp_path / "etc/a/full").mkdir(parents=True)
    with pytest.raises(InstallError, match="/etc/a cannot be written"):
        Host(tmp_path).write("/etc/a", "x", 0o644)
    assert [file.name for file in (tmp_path / "etc").iterdir()] == ["a"]


def test_what_is_removed(tmp_path: Path) -> None:
    """Files, links, folders with all in them; empty folders alone where others may use them."""
    host = Host(tmp_path)
    host.write("/a/b/c", "x", 0o644)
    (tmp_path / "link").symlink_to("nowhere")
    assert host.exists("/link")
    host.remove("/link")
    host.remove("/link")
    assert not host.exists("/link")
    host.remove_empty(["/a/b", "/none"])
    assert host.exists("/a/b/c")
    host.remove("/a/b/c")
    host.remove_empty(["/a/b", "/a"])
    assert not host.exists("/a")
    host.write("/d/e", "x", 0o644)
    host.remove("/d")
    assert not host.exists("/d")


def test_programs_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code and output are given; what is missing, fails or hangs is a clear error where it must not."""
    host = Host()
    assert host.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == host_module.Said(3, "out\nerr\n")
    assert host.run(["no-such-program"]).code == 127
    assert host.must(["echo", "fine"]) == "fine\n"
    with pytest.raises(InstallError, match="'sh -c echo sorry; exit 1' failed: sorry") as error:
        host.must(["sh", "-c", "echo sorry; exit 1"], hint="Try this.")
    assert error.value.hint == "Try this."
    monkeypatch.setattr(host_module, "TIMEOUT", 0.2)
    assert host.run(["sleep", "20"]).code == 124
