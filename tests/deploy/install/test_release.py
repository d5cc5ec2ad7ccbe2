"""Releases: found, installed beside each other, switched at once, removed when old."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from binderlet.deploy.install import release as release_module
from binderlet.deploy.install.host import InstallError, Said
from binderlet.deploy.install.release import (
    LOCK,
    RELEASES,
    Program,
    Release,
    current,
    drop_old,
    remove_command,
    switch_to,
    this_release,
)
from support.fake_host import FakeHost


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Two files that stand for one."""
    (tmp_path / "files").mkdir()
    wheel, lock = tmp_path / "files" / "binderlet-0.2.0-py3-none-any.whl", tmp_path / "files" / LOCK
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"binderlet/{LOCK}", "packages")
    lock.write_text("packages")
    return Release(wheel, lock)


def test_it_is_installed_with_exact_versions(tmp_path: Path, release: Release) -> None:
    """Packages come by hash from the lock file; the release then is current and the command is found."""
    host, program = FakeHost(tmp_path / "root"), Program(release)
    assert release.id.startswith("0.2.0-")
    assert release.id in program.what
    assert not program.is_done(host)
    assert program.before(host) == {"folder": "/opt/binderlet"}
    program.do(host)
    assert program.is_done(host)
    assert current(host) == release.id
    assert any("--require-hashes --requirement" in command for command in host.ran)
    assert host.ran[-1].endswith("bin/binderlet version")
    assert (tmp_path / "root/usr/local/bin/binderlet").readlink() == Path("/opt/binderlet/current/bin/binderlet")
    count = len(host.ran)
    program.do(host)
    assert len(host.ran) == count
    remove_command(host)
    remove_command(host)
    assert not host.exists("/usr/local/bin/binderlet")


def test_a_half_made_one_is_made_again(tmp_path: Path, release: Release) -> None:
    """An interrupted installation leaves nothing that looks whole, and the old release stays current."""
    host = FakeHost(tmp_path / "root", lambda command: Said(1, "no index") if "install" in command else None)
    host.write(RELEASES / "old" / "complete", "", 0o644)
    switch_to(host, "old")
    with pytest.raises(InstallError, match="no index") as error:
        Program(release).do(host)
    assert "PIP_INDEX_URL" in error.value.hint
    assert current(host) == "old"
    assert not Program(release).is_done(host)
    whole = FakeHost(tmp_path / "root")
    Program(release).do(whole)
    assert current(whole) == release.id


def test_a_disk_that_fills_up_on_the_way(tmp_path: Path, release: Release) -> None:
    """The room that the half-made release took is given back, and the old one stays current."""

    def play(command: list[str]) -> Said | None:
        return Said(1, "OSError: [Errno 28] No space left on device") if "--require-hashes" in command else None

    host = FakeHost(tmp_path / "root", play)
    host.write(RELEASES / "old" / "complete", "", 0o644)
    switch_to(host, "old")
    with pytest.raises(InstallError, match="No space left"):
        Program(release).do(host)
    assert not host.exists(RELEASES / release.id)
    assert current(host) == "old"


def test_the_same_packages_are_not_fetched_again(tmp_path: Path, release: Release) -> None:
    """A release with the lock file of the current one, or of the program that installs it, takes its packages."""
    host = FakeHost(tmp_path / "root")
    Program(release).do(host)
    host.write(RELEASES / release.id / "lib/python3.11/site-packages/pkg.py", "x", 0o644)
    host.write(RELEASES / release.id / "bin/tool", "x", 0o755)
    later = release.wheel.with_name("binderlet-0.3.0-py3-none-any.whl")
    later.write_bytes(b"later")
    following = Program(Release(later, release.lock))
    host.ran.clear()
    following.do(host)
    assert host.exists(following.folder / "lib/python3.11/site-packages/pkg.py")
    assert not any("--require-hashes" in command for command in host.ran)
    assert current(host) == following.release.id


def test_the_program_that_installs_has_them(tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after 'deploy'; packages that cannot be read are an error."""
    running = tmp_path / "boot"
    (running / "bin").mkdir(parents=True)
    (running / LOCK).write_bytes(release.lock.read_bytes())
    monkeypatch.setattr(sys, "prefix", str(running))
    host = FakeHost(tmp_path / "root")
    Program(release).do(host)
    assert not any("--require-hashes" in command for command in host.ran)
    (running / "bin").rmdir()
    with pytest.raises(InstallError, match="cannot be filled"):
        Program(release, switch=False).do(FakeHost(tmp_path / "other"))


def test_packages_of_the_operators_own(tmp_path: Path, release: Release) -> None:
    """They are in every release, so that an upgrade does not lose a plugin."""
    host = FakeHost(tmp_path / "root")
    host.write("/etc/binderlet/requirements.txt", "certbot-dns-cloudflare", 0o644)
    Program(release).do(host)
    assert any(command.endswith("--requirement /etc/binderlet/requirements.txt") for command in host.ran)


def test_a_full_disk_is_said(tmp_path: Path, release: Release) -> None:
    """Files that cannot be copied are one clear error."""
    host = FakeHost(tmp_path / "root")
    host.write("/opt/binderlet/releases", "in the way", 0o644)
    with pytest.raises(InstallError, match="cannot be filled"):
        Program(release).do(host)


def test_it_can_wait_beside_the_current_one(tmp_path: Path, release: Release) -> None:
    """An upgrade installs first and switches later."""
    host = FakeHost(tmp_path / "root")
    waiting = Program(release, switch=False)
    waiting.do(host)
    assert waiting.is_done(host)
    assert current(host) == ""


def test_without_a_release_none_is_current(tmp_path: Path) -> None:
    """A bare machine has none."""
    assert current(FakeHost(tmp_path)) == ""


def test_old_ones_go(tmp_path: Path) -> None:
    """The newest few stay beside those that are needed."""
    host = FakeHost(tmp_path)
    for age, name in enumerate(("e", "d", "c", "b", "a")):
        host.write(RELEASES / name / "complete", "", 0o644)
        os.utime(host.at(RELEASES / name), (1000 + age, 1000 + age))
    assert drop_old(host, {"e"}) == ["c", "d"]
    assert {each.name for each in host.at(RELEASES).iterdir()} == {"a", "b", "e"}


def test_the_release_of_an_installed_program(tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its own wheel and lock beside it."""
    monkeypatch.setattr(sys, "prefix", str(release.wheel.parent))
    assert this_release(tmp_path) == release


def test_a_given_wheel_brings_its_lock(tmp_path: Path, release: Release) -> None:
    """What is not a wheel of ours is refused."""
    found = this_release(tmp_path, release.wheel)
    assert found.id == release.id
    other = tmp_path / "other.whl"
    other.write_text("nonsense")
    with pytest.raises(InstallError, match="not a wheel of binderlet"):
        this_release(tmp_path, other)


@pytest.mark.timeout(120)
def test_a_checkout_builds_its_release(tmp_path: Path) -> None:
    """The wheel of a checkout holds the lock file."""
    made = this_release(tmp_path)
    assert made.lock.name == LOCK
    with zipfile.ZipFile(made.wheel) as archive:
        assert archive.read(f"binderlet/{LOCK}") == made.lock.read_bytes()


def test_elsewhere_it_is_downloaded(tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package without its wheel gets it from the index; where that fails, --wheel is named."""
    monkeypatch.setattr(release_module, "__file__", str(tmp_path / "a/b/c/d/e/f.py"))

    def download(*_: str) -> None:
        (tmp_path / release.wheel.name).write_bytes(release.wheel.read_bytes())

    monkeypatch.setattr(release_module, "_pip", download)
    assert this_release(tmp_path).id == release.id
    monkeypatch.undo()
    with pytest.raises(InstallError, match="pip download failed") as error:
        release_module._pip("download", "--no-index", "no-such-package")
    assert "--wheel" in error.value.hint
