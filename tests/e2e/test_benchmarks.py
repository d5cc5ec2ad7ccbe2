"""A long benchmark that is interrupted leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from support.site import run_docker, until

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy),
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

ROOT = Path(__file__).parents[2]
SMALL = {"SESSIONS": "1", "ALONE": "1", "ZRAM_MB": "0", "SWAP_FILE_MB": "64"}


def test_interrupted_density_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while sessions run: no process, container, image, network, file or swap of it is left."""
    kernel = [Path("/proc/sys/fs/inotify/max_user_instances"), Path("/proc/sys/vm/swappiness")]
    before = [file.read_text() for file in kernel], swap_areas()
    environment = {**os.environ, **SMALL, "PYTHONPATH": f"tests{os.pathsep}.", "PICTURES": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.density"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        said: list[str] = []
        assert process.stderr is not None
        reading = threading.Thread(target=said.extend, args=[process.stderr])
        reading.start()
        until(lambda: process.poll() is not None or any("1 of 1 launched" in line for line in said), seconds=200)
        if process.poll() is not None:
            reading.join()
            assert "SwapError" in "".join(said), "".join(said)
            pytest.skip("no swap can be made here")
        instance, state = belongings(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) != 0
        reading.join()
    assert "KeyboardInterrupt" in "".join(said)
    assert not run_docker("ps", "-aq", "--filter", f"label=binderlet.instance={instance}")
    assert not run_docker("network", "ls", "-q", "--filter", f"name={instance}")
    assert not run_docker("images", "-q", f"{instance}/*")
    assert not state.exists()
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(state) in " ".join(one.info["cmdline"] or [])]
    assert ([file.read_text() for file in kernel], swap_areas()) == before


def belongings(process: int) -> tuple[str, Path]:
    """Give the instance and the state folder of the service that a benchmark runs."""
    for child in psutil.Process(process).children(recursive=True):
        line = " ".join(child.cmdline())
        instance, state = re.search(r"server\.instance=(\S+)", line), re.search(r"paths\.state=(\S+)", line)
        if instance and state:
            return instance[1], Path(state[1])
    raise AssertionError("The benchmark runs no service.")


def swap_areas() -> list[str]:
    """Name the swap areas in use."""
    return [line.split()[0] for line in Path("/proc/swaps").read_text().splitlines()[1:]]
