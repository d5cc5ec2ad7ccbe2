"""The instance lock."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from binderlet.deploy.lock import InstanceLock
from binderlet.errors import AlreadyRunning


def test_a_second_control_plane_of_that_name_is_refused() -> None:
    """Two of one name cannot run; another name can, and the name is free again after the first has ended."""
    name = f"lock-{os.getpid()}"
    with InstanceLock(name), InstanceLock(f"{name}-other"), pytest.raises(AlreadyRunning, match=name):
        InstanceLock(name)
    InstanceLock(name).close()


def test_the_lock_goes_with_its_process() -> None:
    """A control plane that is killed leaves no lock behind."""
    name = f"killed-{os.getpid()}"
    program = (
        "import sys, time; from binderlet.deploy.lock import InstanceLock; "
        f"held = InstanceLock({name!r}); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning):
            InstanceLock(name)
        process.kill()
        process.wait()
    InstanceLock(name).close()
