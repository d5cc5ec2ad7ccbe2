"""Installs on another machine over ssh: the operator's own ``ssh``, with its keys, known hosts and jump hosts.

What is done there goes on when the connection breaks; it is followed again as soon as the machine is reached.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from binderlet.deploy.install.host import InstallError
from binderlet.deploy.install.release import Release
from binderlet.deploy.install.runner import Tell
from binderlet.deploy.install.wanted import ASKED, DEPLOYED

FOLDER = str(DEPLOYED)
UNIT = "binderlet-deploy"
LOST = 255
"""``ssh``'s own exit code, when the connection and not the command failed."""
PATIENCE = 300.0
"""Seconds for which a lost connection is tried again."""
EVERY = 1.0

PREPARE = f"""\
set -e
[ -d /run/systemd/system ] || {{ echo 'systemd does not run there.'; exit 1; }}
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  apt-get update -q || true
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3 python3-venv ca-certificates
fi
mkdir -p -m 700 {FOLDER}
"""

INSTALL = """\
set -e
cd {folder}
python3 -m venv boot
boot/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
cp requirements.lock boot/
boot/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall {wheel}
exec boot/bin/binderlet install --wheel {folder}/{wheel} --asked-in {folder}/{asked} {more}
"""


@dataclass(slots=True)
class Remote:
    """One machine; ``options`` are ssh's own, such as ``-p 2222``."""

    target: str
    options: Sequence[str] = ()
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _since: float | None = field(default=None, init=False)

    def run(self, script: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a shell script there; ``data`` is its standard input."""
        command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=5"]
        command += ["-o", "ServerAliveCountMax=3", *self.options, self.target, f"sh -c {shlex.quote(script)}"]
        return subprocess.run(command, input=data or b"", capture_output=True, check=False)

    def must(self, script: str, data: bytes | None = None) -> bytes:
        """Run a script that has to succeed, again after a lost connection; it must bear being run twice.

        What ssh itself says, such as a banner, is not in the answer.

        Raises:
            InstallError: it failed, or the machine was not reached for long.
        """
        while True:
            done = self.run(script, data)
            if done.returncode == 0:
                self._since = None
                return done.stdout
            said = (done.stdout + done.stderr).decode(errors="replace")
            if done.returncode != LOST:
                raise InstallError(f"{self.target}: {' '.join(said.split()[-60:])}")
            self._wait(said)

    def _wait(self, said: str) -> None:
        if self._since is None:
            self._since = self.clock()
        if self.clock() - self._since > PATIENCE or "Permission denied" in said or "Could not resolve" in said:
            raise InstallError(
                f"{self.target} is not reached: {' '.join(said.split()[-30:])}",
                hint=f"'ssh {self.target} true' must work without a question. What began there goes on.",
            )
        self.sleep(EVERY)


def deploy(remote: Remote, release: Release, asked: Mapping[str, Any], tell: Tell, *, dry_run: bool = False) -> None:
    """Copy a release to a machine, install it there, and show how that comes along.

    What is asked for, which may hold keys, goes there in a file for root alone, and never through a command line.

    Raises:
        InstallError: it failed there, or the machine was not reached for long.
    """
    tell(f"preparing {remote.target}")
    remote.must(PREPARE)
    if not _is_running(remote):
        for file in (release.wheel, release.lock):
            send(remote, file.name, file.read_bytes())
        send(remote, ASKED.name, json.dumps(asked).encode())
        more = "--dry-run" if dry_run else ""
        _start(remote, INSTALL.format(folder=FOLDER, wheel=release.wheel.name, asked=ASKED.name, more=more))
    else:
        tell("an installation goes on there already: following it")
    _follow(remote, tell)


def send(remote: Remote, name: str, data: bytes) -> None:
    """Write a file in the folder there, for root alone, whole or not at all."""
    place = f"{FOLDER}/{name}"
    remote.must(f"umask 077; cat > {place}.new && mv {place}.new {place}", data)


def _is_running(remote: Remote) -> bool:
    return b"yes" in remote.must(f"systemctl --quiet is-active {UNIT} && echo yes || echo no")


def _start(remote: Remote, script: str) -> None:
    run = f"systemd-run --quiet --unit={UNIT} --property=StandardOutput=truncate:{FOLDER}/log"
    run += f" --property=StandardError=inherit --property=RemainAfterExit=no sh -c {shlex.quote(script)}"
    remote.must(
        f"systemctl reset-failed {UNIT} 2>/dev/null; rm -f {FOLDER}/log; "
        # The command may be sent twice when the connection broke after the first.
        f"systemctl --quiet is-active {UNIT} || {run}"
    )


def _follow(remote: Remote, tell: Tell) -> None:
    seen = 0
    while True:
        running = _is_running(remote)
        new = remote.must(f"tail -c +{seen + 1} {FOLDER}/log 2>/dev/null || true")
        # The end of a line that is being written comes with the next look.
        whole = new[: new.rfind(b"\n") + 1] if running else new
        seen += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            tell(line)
        if not running:
            break
        remote.sleep(EVERY)
    result = remote.must(f"systemctl show --property=Result --value {UNIT}").decode().strip()
    if result != "success":
        raise InstallError(f"{remote.target}: the installation failed ({result}).", hint="Its words are above.")
