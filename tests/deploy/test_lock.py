"""The instance lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from binderlet.deploy.lock import InstanceLock
from binderlet.errors import AlreadyRunning


def test_a_second_control_plane_of_that_name_is_refused(tmp_path: Path) -> None:
    """Two of one name cannot run; another name can, and the name is free again after the first has ended."""
    name = f"lock-{os.getpid()}"
    one, two, three = (tmp_path / folder for folder in ("one", "two", "three"))
    with InstanceLock(name, one), InstanceLock(f"{name}-other", two), pytest.raises(AlreadyRunning, match=name):
        InstanceLock(name, three)
    InstanceLock(name, one).close()


def test_a_second_control_plane_in_that_folder_is_refused(tmp_path: Path) -> None:
    """Two cannot share a state folder, whatever they are called; the one that is refused keeps no name."""
    name = f"folder-{os.getpid()}"
    with InstanceLock(name, tmp_path), pytest.raises(AlreadyRunning, match=str(tmp_path)):
        InstanceLock(f"{name}-other", tmp_path)
    InstanceLock(f"{name}-other", tmp_path).close()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    """A control plane that is killed leaves no lock behind."""
    name = f"killed-{os.getpid()}"
    program = (
        "import time; from pathlib import Path; from binderlet.deploy.lock import InstanceLock; "
        f"held = InstanceLock({name!r}, Path({str(tmp_path)!r})); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning):
            InstanceLock(name, tmp_path)
        process.kill()
        process.wait()
    InstanceLock(name, tmp_path).close()
