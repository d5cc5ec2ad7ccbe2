"""What a builder pod has, in a folder of this machine: Podman of its own with its socket, and the folders."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from binderlet.builder.cluster.worker import Place

WRAPPER = """#!/bin/bash
export BUILDAH_ISOLATION=chroot BUILDAH_LAYERS=false
exec /usr/bin/podman --root {cache}/storage --runroot {run}/podman --tmpdir {run}/tmp --cgroup-manager cgroupfs \\
  --events-backend file "$@"
"""


@dataclass(frozen=True)
class Pod:
    """A place for workers."""

    place: Place
    podman: str
    """The program; it is the first on PATH, too."""


@contextmanager
def pod_place() -> Iterator[Pod]:
    """Give one with nothing in it, or skip the test."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        pytest.skip("Podman is not installed, or this is not root")
    # Not below pytest's own folder, whose cleaning would stumble over a mount that stayed.
    folder = Path(tempfile.mkdtemp(prefix="binderlet-pod-"))
    cache, run = folder / "cache", folder / "run"
    for made in (cache / "storage", cache / "state", cache / "work", run, folder / "bin"):
        made.mkdir(parents=True)
    program = folder / "bin" / "podman"
    program.write_text(WRAPPER.format(cache=cache, run=run))
    program.chmod(0o755)
    place = Place(cache, run, str(run / "podman.sock"))
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{program.parent}:{path}"
    command = [str(program), "system", "service", "--time", "0", f"unix://{place.socket}"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 30
            while not Path(place.socket).is_socket():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "Podman does not listen"
                time.sleep(0.05)
            yield Pod(place, str(program))
        finally:
            os.environ["PATH"] = path
            process.terminate()
            process.wait()
            _clear(folder)


def _clear(folder: Path) -> None:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in process.read_bytes():
                os.kill(int(process.parent.name), signal.SIGKILL)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)
