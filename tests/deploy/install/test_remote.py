"""Another machine, played by a program called ssh that runs scripts here, and loses connections."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from binderlet.deploy.install import remote as remote_module
from binderlet.deploy.install.host import InstallError
from binderlet.deploy.install.release import Release
from binderlet.deploy.install.remote import Remote, deploy, send

SSH = """#!/bin/bash
echo "$@" >> {folder}/calls
if [ -s {folder}/losses ]; then
  left=$(cat {folder}/losses); echo $((left - 1)) > {folder}/losses
  [ $left = 1 ] && : > {folder}/losses
  echo "Connection reset"; exit 255
fi
exec bash -c "${{@: -1}}"
"""
SYSTEMCTL = """#!/bin/bash
case "$*" in
  *is-active*) [ -e {folder}/running ] && rm {folder}/running ;;
  *show*) cat {folder}/result ;;
esac
"""
SYSTEMD_RUN = """#!/bin/bash
touch {folder}/running
printf 'packages: done already\\nready: https://b.org/\\n' > {folder}/deploy/log
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which all of it is played."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "deploy").mkdir()
    (tmp_path / "result").write_text("success\n")
    for name, text in (("ssh", SSH), ("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
        (programs / name).write_text(text.format(folder=tmp_path))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(remote_module, "FOLDER", str(tmp_path / "deploy"))
    monkeypatch.setattr(remote_module, "PREPARE", "true")
    return tmp_path


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Two files."""
    wheel, lock = tmp_path / "binderlet-0.2.0-py3-none-any.whl", tmp_path / "requirements.lock"
    wheel.write_bytes(b"\x00wheel")
    lock.write_text("lock")
    return Release(wheel, lock)


def remote(**clock: float) -> Remote:
    """Make one whose clock runs by itself and that never really sleeps."""
    now = [0.0]

    def tick() -> float:
        now[0] += clock.get("step", 1.0)
        return now[0]

    return Remote("root@b.org", ["-p", "2222"], sleep=lambda _: None, clock=tick)


def test_it_is_installed_there_and_told_here(there: Path, release: Release) -> None:
    """Files are copied, the installation starts there, and its words are shown, each once."""
    told = list[str]()
    deploy(remote(), release, {"domain": "b.org", "settings": {"x.secret": "s3cret"}}, told.append)
    assert told == ["preparing root@b.org", "packages: done already", "ready: https://b.org/"]
    assert (there / "deploy" / release.wheel.name).read_bytes() == b"\x00wheel"
    calls = (there / "calls").read_text()
    assert "-p 2222 root@b.org" in calls
    assert "BatchMode=yes" in calls
    asked = there / "deploy" / "asked.json"
    assert json.loads(asked.read_text())["settings"] == {"x.secret": "s3cret"}
    assert asked.stat().st_mode & 0o077 == 0, "for its owner alone"
    assert "s3cret" not in calls, "command lines can be read by everybody"
    assert "--asked-in" in calls
    assert "--dry-run" not in calls


@pytest.mark.parametrize("losses", [1, 3, 7])
def test_lost_connections_are_made_again(there: Path, release: Release, losses: int) -> None:
    """Whenever it breaks, what goes on there is followed to its end."""
    (there / "losses").write_text(str(losses))
    told = list[str]()
    deploy(remote(), release, {}, told.append, dry_run=True)
    assert told[-1] == "ready: https://b.org/"
    assert "--dry-run" in (there / "calls").read_text()


def test_a_machine_that_stays_away(there: Path) -> None:
    """After some minutes it is given up, with what to try."""
    (there / "losses").write_text("1000")
    with pytest.raises(InstallError, match="is not reached: Connection reset") as error:
        remote(step=100.0).must("true")
    assert "ssh root@b.org true" in error.value.hint


def test_a_failure_there_is_a_failure_here(there: Path, release: Release) -> None:
    """The words were shown; the error says that it failed."""
    (there / "result").write_text("exit-code\n")
    with pytest.raises(InstallError, match=r"failed \(exit-code\)"):
        deploy(remote(), release, {}, lambda _: None)
    with pytest.raises(InstallError, match=r"root@b\.org: no such thing"):
        remote().must("echo no such thing; exit 1")


def test_one_that_runs_already_is_followed(there: Path, release: Release) -> None:
    """A second deploy does not start a second installation."""
    (there / "running").touch()
    (there / "deploy" / "log").write_text("from before\n")
    told = list[str]()
    deploy(remote(), release, {}, told.append)
    assert told[1:] == ["an installation goes on there already: following it", "from before"]


def test_a_banner_is_no_part_of_the_story(there: Path, release: Release) -> None:
    """What ssh itself says at each connection neither is told nor hides a line; half a line waits for its end."""
    (there / "bin" / "ssh").write_text(
        SSH.format(folder=there).replace("exec bash", "echo Authorized only >&2; exec bash")
    )
    start = "touch {folder}/running; printf 'one\\ntw' > {folder}/deploy/log"
    (there / "bin" / "systemd-run").write_text("#!/bin/bash\n" + start.format(folder=there))
    told = list[str]()

    def sleep(_: float) -> None:
        with (there / "deploy" / "log").open("a") as log:
            log.write("o ü\n")

    deploy(Remote("root@b.org", sleep=sleep), release, {}, told.append)
    assert told == ["preparing root@b.org", "one", "two ü"]


def test_a_file_arrives_whole(there: Path) -> None:
    """Nothing that was cut short has its name."""
    send(remote(), "some.whl", bytes(100_000))
    assert (there / "deploy" / "some.whl").stat().st_size == 100_000
    assert not (there / "deploy" / "some.whl.new").exists()
