"""K3s's own releases, followed by themselves: a timer runs ``binderlet k3s upgrade`` once a week on each node.

It runs K3s's installer for the line of releases that is installed, such as v1.33, so that nothing but mends comes by
itself; without internet it takes what a folder has. A timer needs no images, no rights in the cluster and no network,
which Rancher's system-upgrade-controller does. Servers come a day before the nodes that joined them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from binderlet.deploy.install.wanted import BINDERLET, HOME
from binderlet.deploy.k3s import (
    AIR_GAP,
    CONFIG,
    INSTALL_SCRIPT,
    PROGRAM,
    SYSCTL,
    File,
    Role,
    Wish,
    apply,
    fetch_installer,
    run,
    run_installer,
)
from binderlet.errors import ConfigError, LaunchFailed

UNITS = Path("/etc/systemd/system")
NAME = "binderlet-k3s-upgrade"
DAYS: Mapping[Role, str] = {"server": "Sun", "agent": "Mon"}
SERVICES: Mapping[Role, str] = {"server": "k3s", "agent": "k3s-agent"}
LINE = re.compile(r"v\d+\.\d+")

SERVICE = """\
# Written by 'binderlet k3s'; changes are lost with the next one.
[Unit]
Description=Mends of K3s
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
# For variables of K3s's installer, such as INSTALL_K3S_ARTIFACT_URL for a mirror.
EnvironmentFile=-/etc/default/binderlet-k3s
ExecStart={command}
TimeoutStartSec=30min
"""
TIMER = """\
# Written by 'binderlet k3s'; changes are lost with the next one.
[Unit]
Description=Mends of K3s, once a week

[Timer]
OnCalendar={day} 04:00
RandomizedDelaySec=2h
Persistent=true

[Install]
WantedBy=timers.target
"""


def units(role: Role, *, channel: str = "", folder: Path | None = None) -> list[File]:
    """Give the timer and what it runs; ``folder`` is where a machine without internet finds releases."""
    options = [f"--channel={channel}"] if channel else []
    options += [f"--from={folder.absolute()}"] if folder else []
    command = " ".join(_escaped(part) for part in (str(program()), "k3s", "upgrade", *options))
    return [
        File(UNITS / f"{NAME}.service", SERVICE.format(command=command)),
        File(UNITS / f"{NAME}.timer", TIMER.format(day=DAYS[role])),
    ]


def _escaped(part: str) -> str:
    """Write a word as systemd reads it."""
    text = part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if " " in text or text != part else part


def program(here: Path | None = None) -> Path:
    """Give the command that runs this code, as it will be after an upgrade of ours."""
    mine = here or Path(sys.prefix) / "bin" / "binderlet"
    return Path(BINDERLET) if mine.is_relative_to(HOME) else mine


def installed_role(root: Path) -> Role:
    """Say what K3s is on this machine.

    Raises:
        ConfigError: it is not installed.
    """
    for role, service in SERVICES.items():
        if (root / UNITS.relative_to("/") / f"{service}.service").exists():
            return role
    raise ConfigError("K3s is not installed here.", hint="'binderlet k3s install' or 'binderlet k3s join' does that.")


def line_of(version: str) -> str:
    """Give the line of releases that a version belongs to; empty where that cannot be read."""
    found = LINE.search(version)
    return found[0] if found else ""


def installed_line(root: Path) -> str:
    """Give the line of releases of the program that is installed."""
    try:
        done = subprocess.run(
            [root / PROGRAM.relative_to("/"), "--version"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LaunchFailed(f"{PROGRAM} does not tell its version: {error}.", hint="Name a --channel.") from error
    return line_of(done.stdout)


def place(folder: Path, root: Path) -> bool:
    """Put the files of a folder where K3s looks for them; False where they are there already.

    Raises:
        ConfigError: the folder lacks one, or a file cannot be written.
    """
    missing = [name for name in AIR_GAP if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{folder} lacks {', '.join(missing)}.", hint="'binderlet k3s files' says what they are.")
    is_new = False
    try:
        # Images first: a program that starts before its images are there has to wait for them in vain.
        for name, (target, _) in sorted(AIR_GAP.items(), key=lambda each: each[1][0] == PROGRAM):
            if target is not None and _put(folder / name, root / target.relative_to("/")):
                is_new = True
    except OSError as error:
        raise ConfigError(
            f"The files of {folder} cannot be placed: {error}.", hint="Setting up K3s needs root, and room on the disk."
        ) from error
    return is_new


def _put(source: Path, target: Path) -> bool:
    if target.exists() and _digest(source) == _digest(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    try:
        shutil.copyfile(source, new)
        new.chmod(0o755)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_up(
    role: Role,
    changed: Sequence[File],
    *,
    version: str = "",
    channel: str = "",
    folder: Path | None = None,
    root: Path = Path("/"),
) -> None:
    """Write what changed, and install K3s or restart it; what was interrupted is made up for by the next time.

    Raises:
        LaunchFailed: it does not start.
        ConfigError: a file cannot be written, or the folder lacks something.
        ProviderUnavailable: the installer cannot be downloaded.
    """
    owed = File(CONFIG / ".restart-owed", "")
    if any(file.path.is_relative_to(CONFIG) for file in changed):
        apply([owed], root)
    apply(changed, root)
    if any(file.path == SYSCTL for file in changed):
        run("sysctl", "--quiet", "--load", str(root / SYSCTL.relative_to("/")))
    mark = root / owed.path.relative_to("/")
    restart = mark.exists()
    if folder is not None:
        restart = place(folder, root) or restart
        run_installer(folder / INSTALL_SCRIPT, role, Wish(version, download=False, restart=restart))
    else:
        _from_internet(role, Wish(version, channel, restart=restart))
    mark.unlink(missing_ok=True)


def follow(wanted: bool, root: Path = Path("/")) -> None:  # noqa: FBT001 - the answer to the only question
    """Switch the timer on, or off and away.

    Raises:
        LaunchFailed: systemd refuses.
    """
    here = root / UNITS.relative_to("/")
    if wanted:
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--now", f"{NAME}.timer")
    elif (here / f"{NAME}.timer").exists():
        run("systemctl", "disable", "--now", f"{NAME}.timer")
        for kind in ("timer", "service"):
            (here / f"{NAME}.{kind}").unlink(missing_ok=True)
        run("systemctl", "daemon-reload")


def upgrade(
    role: Role, tell: Callable[[str], None], *, channel: str = "", folder: Path | None = None, root: Path = Path("/")
) -> None:
    """Bring K3s to the newest release of its line, or of ``channel``, or to the one in ``folder``; its pods go on.

    Raises:
        LaunchFailed: the new one does not start; the one from before runs again.
        ConfigError: the folder lacks something.
        ProviderUnavailable: the installer cannot be downloaded.
    """
    path = root / PROGRAM.relative_to("/")
    kept = path.with_name(".k3s.before")
    kept.unlink(missing_ok=True)
    if path.exists():
        kept.hardlink_to(path)
    try:
        if folder is not None:
            if not place(folder, root):
                tell("K3s is as in the folder already")
                return
            run_installer(folder / INSTALL_SCRIPT, role, Wish(download=False, restart=True))
        else:
            _from_internet(role, Wish(channel=channel or installed_line(root)))
        tell("K3s is up to date")
    except LaunchFailed:
        if kept.exists() and not kept.samefile(path):
            tell("the new K3s does not start: going back to the one from before")
            kept.replace(path)
            run("systemctl", "restart", f"{SERVICES[role]}.service")
        raise
    finally:
        kept.unlink(missing_ok=True)


def _from_internet(role: Role, wish: Wish) -> None:
    with tempfile.TemporaryDirectory(prefix="binderlet-k3s-") as name:
        installer = Path(name) / INSTALL_SCRIPT
        fetch_installer(installer)
        run_installer(installer, role, wish)
