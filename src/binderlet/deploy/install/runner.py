"""Walks through the steps, keeps a record of what was done, and takes it back."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import PurePosixPath

from binderlet.deploy.install.actions import RELOAD, Undo, undo
from binderlet.deploy.install.host import Host, InstallError
from binderlet.deploy.install.release import remove_command
from binderlet.deploy.install.services import SOCKETS
from binderlet.deploy.install.steps import Step
from binderlet.deploy.install.wanted import BINDERLET, CONFIG, DEPLOYED, STATE, Wanted

RECORD = PurePosixPath("/var/lib/binderlet-install/record.json")
"""Outside of the service's own state, so that it outlives it."""

WANTED = RECORD.with_name("wanted.json")
"""What was asked for, so that another release can write its own units."""
OURS = "binderlet"
ENDED = ("systemctl", "stop", "binderlet-job@*.service", "binderlet-helper.service")

ENGINES = ("docker", "podman")
IMAGES = ("binderlet/", "localhost/binderlet/", "docker.io/binderlet/")
"""With what the names of ours begin; Podman puts a host before them."""

NAMED = ("unit", "file", "folder", "user", "displaced")
"""Whatever an action did, one of these says to what."""

Tell = Callable[[str], None]


def outstanding(host: Host, steps: Sequence[Step]) -> list[tuple[Step, list[str]]]:
    """Give each step with what is left of it to do, in words; nothing is changed."""
    return [(step, [action.what for action in step.actions if not action.is_done(host)]) for step in steps]


def surplus(host: Host, steps: Sequence[Step]) -> list[Undo]:
    """Give what is on record and of no step any more, last first: a part that was left out this time.

    Only what bears our name: Docker, packages and the user stay.
    """
    still = [action.before(host) for step in steps for action in step.actions]
    ours = [done for done in read_record(host) if OURS in name_of(done) and "user" not in done]
    return [done for done in reversed(ours) if not any(_same(done, each) for each in still)]


def install(host: Host, steps: Sequence[Step], tell: Tell, wanted: Wanted | None = None) -> None:
    """Do what is not done yet; each thing is on record before it begins, and so is what was asked for.

    Raises:
        InstallError: something failed, or another installation goes on.
    """
    with alone(host):
        if wanted is not None:
            host.write(WANTED, wanted.as_json(), 0o600)
        do_all(host, steps, tell)


def do_all(host: Host, steps: Sequence[Step], tell: Tell, without: Collection[str] = ()) -> None:
    """Do the same for somebody who keeps others out already; steps named in ``without`` are left as they are.

    Raises:
        InstallError: something failed.
    """
    for done in surplus(host, steps):
        tell(f"no longer wanted: {name_of(done)}")
        undo(host, done)
        _write(host, [each for each in read_record(host) if each != done])
    for step in steps:
        if step.name in without:
            continue
        left = [action for action in step.actions if not action.is_done(host)]
        tell(f"{step.name}: {'done already' if not left else step.why}")
        for action in left:
            tell(f"  {action.what}")
            _remember(host, action.before(host))
            action.do(host)


def uninstall(host: Host, tell: Tell, *, keep_data: bool = False, keep_images: bool = False) -> list[str]:
    """Take back everything on record, last first; gives the packages that were installed, which stay.

    Raises:
        InstallError: nothing is installed, or something cannot be taken back; the record keeps the rest.
    """
    with alone(host):
        record = read_record(host)
        if not record:
            raise InstallError("Nothing was installed here.", hint="'binderlet install' keeps a record.")
        tell("ending the service and its sessions")
        # It may have ended already; a control plane that is only left would leave sessions and HAProxy.
        host.run([str(BINDERLET), "stop-service", "--config", str(CONFIG)])
        host.run(ENDED)
        # All at once: systemd knows the order, and one after the other takes a second each.
        if units := [done["unit"] for done in reversed(record) if "unit" in done]:
            host.run(["systemctl", "disable", "--now", *units])
        if not keep_images:
            _remove_images(host)
        packages: list[str] = []
        while record:
            last = record[-1]
            packages += last.get("packages", [])
            # What stays belongs to the user.
            if not (keep_data and (last.get("file") == str(CONFIG) or "user" in last)):
                tell(f"taking back {name_of(last)}")
                undo(host, last, is_down=True)
            record.pop()
            _write(host, record)
        remove_command(host)
        host.remove(DEPLOYED)
        if not keep_data:
            host.remove(STATE)
        host.remove(SOCKETS)
        host.run(RELOAD)
    host.remove(RECORD.parent)
    return sorted(set(packages))


def _remove_images(host: Host) -> None:
    """Remove what the engine keeps for us; an engine that is away keeps it."""
    for engine in ENGINES:
        images = host.run([engine, "images", "--format", "{{.Repository}}:{{.Tag}}"])
        for name in images.out.split() if images.code == 0 else []:
            if name.startswith(IMAGES):
                host.run([engine, "image", "rm", "--force", name])
        host.run([engine, "network", "rm", "binderlet"])


@contextlib.contextmanager
def alone(host: Host) -> Iterator[None]:
    """Keep a second installation out until the block ends.

    Raises:
        InstallError: another one goes on.
    """
    place = host.at(RECORD.with_name("lock"))
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InstallError("Another installation goes on here.", hint="Wait until it has ended.") from error
        yield


def read_record(host: Host) -> list[Undo]:
    """Give what was done, in order."""
    text = host.read(RECORD)
    found: list[Undo] = json.loads(text) if text else []
    return found


def asked_before(host: Host) -> Wanted | None:
    """Give what was asked for at the last time; None where there was none."""
    text = host.read(WANTED)
    return None if text is None else Wanted.from_json(text)


def read_wanted(host: Host) -> Wanted:
    """Give the same of a machine that has an installation.

    Raises:
        InstallError: nothing is on record.
    """
    wanted = asked_before(host)
    if wanted is None:
        raise InstallError("Nothing was installed here.", hint="'binderlet install' keeps a record.")
    return wanted


def _remember(host: Host, done: Undo) -> None:
    record = read_record(host)
    if not done:
        return
    # What was there before the first time counts: a file that is written again was ours.
    if not any(_same(done, earlier) for earlier in record):
        _write(host, [*record, done])


def _same(one: Undo, other: Undo) -> bool:
    return any(key in one and one[key] == other.get(key) for key in (*NAMED, "packages"))


def name_of(done: Undo) -> str:
    """Say what something on record is about."""
    return next((str(done[key]) for key in NAMED if key in done), "packages")


def _write(host: Host, record: Sequence[Undo]) -> None:
    host.write(RECORD, json.dumps(record, indent=1), 0o600)
