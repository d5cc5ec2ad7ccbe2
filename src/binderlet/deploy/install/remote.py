"""Installs on another machine over ssh: the operator's own ``ssh``, with its keys, known hosts and jump hosts.

What is done there goes on when the connection breaks; it is followed again as soon as the machine is reached.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from binderlet.deploy.install.host import InstallError
from binderlet.deploy.install.release import Release
from binderlet.deploy.install.runner import Tell

FOLDER = "/var/lib/binderlet-deploy"
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
mkdir -p {FOLDER}
"""

INSTALL = """\
set -e
cd {folder}
python3 -m venv boot
boot/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
boot/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall {wheel}
exec boot/bin/binderlet install --wheel {folder}/{wheel} {arguments}
"""


@dataclass(slots=True)
class Remote:
    """One machine; ``options`` are ssh's own, such as ``-p 2222``."""

    target: str
    options: Sequence[str] = ()
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _since: float | None = field(default=None, init=False)

    def run(self, script: str, data: bytes | None = None) -> tuple[int, str]:
        """Run a shell script there; ``data`` is its standard input."""
        command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=5"]
        command += ["-o", "ServerAliveCountMax=3", *self.options, self.target, f"sh -c {shlex.quote(script)}"]
        done = subprocess.run(command, input=data or b"", capture_output=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def must(self, script: str, data: bytes | None = None) -> str:
        """Run a script that has to succeed, again after a lost connection; it must bear being run twice.

        Raises:
            InstallError: it failed, or the machine was not reached for long.
        """
        while True:
            code, said = self.run(script, data)
            if code == 0:
                self._since = None
                return said
            if code != LOST:
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


def deploy(remote: Remote, release: Release, arguments: Sequence[str], tell: Tell) -> None:
    """Copy a release to a machine, install it there, and show how that comes along.

    Raises:
        InstallError: it failed there, or the machine was not reached for long.
    """
    tell(f"preparing {remote.target}")
    remote.must(PREPARE)
    for file in (release.wheel, release.lock):
        send(remote, file)
    if not _is_running(remote):
        script = INSTALL.format(folder=FOLDER, wheel=release.wheel.name, arguments=shlex.join(arguments))
        _start(remote, script)
    _follow(remote, tell)


def send(remote: Remote, file: Path) -> None:
    """Copy a file into the folder there, whole or not at all."""
    place = f"{FOLDER}/{file.name}"
    remote.must(f"cat > {place}.new && mv {place}.new {place}", file.read_bytes())


def _is_running(remote: Remote) -> bool:
    return "yes" in remote.must(f"systemctl --quiet is-active {UNIT} && echo yes || echo no")


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
        seen += len(new.encode())
        for line in new.splitlines():
            tell(line)
        if not running:
            break
        remote.sleep(EVERY)
    result = remote.must(f"systemctl show --property=Result --value {UNIT}").strip()
    if result != "success":
        raise InstallError(f"{remote.target}: the installation failed ({result}).", hint="Its words are above.")
