"""Build processes that outlive the control plane."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from binderlet.builder import job as module
from binderlet.builder import supervisor
from binderlet.builder.job import Job, JobSpec
from binderlet.errors import BuildFailed


def spec(tmp_path: Path, script: str, **more: object) -> JobSpec:
    """Describe a job that runs a shell script."""
    return JobSpec(["sh", "-c", script], log=tmp_path / "log", **more)  # type: ignore[arg-type] # fields by name


async def read(path: Path) -> str:
    """Read a file."""
    return await asyncio.to_thread(path.read_text)


def test_nothing_there(tmp_path: Path) -> None:
    """A folder that is not there holds no job."""
    job = Job(tmp_path / "job")
    assert (job.log, job.outcome(), job.is_running()) == (None, None, False)


async def test_runs_to_its_end(tmp_path: Path) -> None:
    """A job gives its exit code and the end of its output, which is in the log."""
    job = Job(tmp_path / "job")
    await job.start(spec(tmp_path, "echo hello $WHO; exit 3", environment={"WHO": "you"}))
    outcome = await job.wait()
    assert (outcome.code, outcome.reason, outcome.tail) == (3, "exited", "hello you\n")
    assert await read(tmp_path / "log") == "hello you\n"
    assert await asyncio.to_thread(lambda: job.log) == tmp_path / "log"
    await asyncio.to_thread(job.clear)
    await asyncio.to_thread(job.clear)
    assert not await asyncio.to_thread(job.folder.exists)


async def test_relays_to_another_log(tmp_path: Path) -> None:
    """Who joins later gets all lines from the first on."""
    job = Job(tmp_path / "job")
    await job.start(spec(tmp_path, "echo one; sleep 0.3; echo two"))
    await asyncio.sleep(0.1)
    await job.wait(tmp_path / "other")
    assert await read(tmp_path / "other") == "one\ntwo\n"


async def test_relay_before_there_is_output(tmp_path: Path) -> None:
    """A job whose output is gone or not there yet relays nothing."""
    job = Job(tmp_path / "job")
    assert job._relay(tmp_path / "other", 0) == 0


async def test_deadline(tmp_path: Path) -> None:
    """A job that takes too long is ended with all it started."""
    job = Job(tmp_path / "job")
    await job.start(spec(tmp_path, "sleep 47.11 & sleep 47.11", timeout=0.3))
    assert (await job.wait()).reason == "timeout"
    found = await asyncio.to_thread(subprocess.run, ["pgrep", "-f", "^sleep 47.11"], capture_output=True, check=False)
    assert found.stdout == b""


async def test_end(tmp_path: Path) -> None:
    """A job can be ended; ending what has ended does nothing."""
    job = Job(tmp_path / "job")
    await job.start(spec(tmp_path, "sleep 60"))
    await job.end()
    outcome = await job.wait()
    assert outcome.reason == "ended"
    await job.end()


async def test_end_of_what_cannot_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose supervisor ends between two looks, or never says who it is, is not waited for without end."""
    monkeypatch.setattr(supervisor, "GRACE", 0.05)
    job = Job(tmp_path)
    monkeypatch.setattr(job, "is_running", lambda: True)
    await job.end()


async def test_supervisor_killed(tmp_path: Path) -> None:
    """A job whose supervisor was killed is lost, which is noticed."""
    job = Job(tmp_path / "job")
    await job.start(spec(tmp_path, "sleep 3"))
    pid = json.loads(await read(job.folder / "running.json"))["pid"]
    os.kill(pid, signal.SIGKILL)
    assert (await job.wait()).reason == "lost"


async def test_supervisor_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that cannot be started is a failed build."""
    monkeypatch.setattr(module, "START_TIMEOUT", 0.3)
    monkeypatch.setattr(module, "SOURCES", "/no/such/folder")
    with pytest.raises(BuildFailed, match="could not be started"):
        await Job(tmp_path / "job").start(spec(tmp_path, "true"))


@pytest.mark.timeout(60)
async def test_output_of_100_megabytes(tmp_path: Path) -> None:
    """A job that prints 100 MB goes on to its end, and its log stays small but has the last line."""
    job = Job(tmp_path / "job")
    await job.start(
        spec(tmp_path, "yes abcdefghijklmnopqrstuvwxyz | head -c 100000000; echo; echo the end", limit=100_000)
    )
    outcome = await job.wait()
    assert outcome.code == 0
    log = tmp_path / "log"
    assert log.stat().st_size < 200_000
    assert (await read(log)).endswith("the end\n")


async def test_survives_its_parent(tmp_path: Path) -> None:
    """A job goes on when the process that started it is killed, and another process finds, follows and ends it."""
    program = f"""
        import asyncio, os, signal
        from pathlib import Path
        from binderlet.builder.job import Job, JobSpec
        async def main():
            folder = Path({str(tmp_path)!r})
            await Job(folder / "job").start(JobSpec(["sh", "-c", "echo one; sleep 1; echo two"], log=folder / "log"))
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), env=environment, start_new_session=True
    )
    assert await parent.wait() == -signal.SIGKILL
    job = Job(tmp_path / "job")
    assert await asyncio.to_thread(job.is_running)
    outcome = await job.wait()
    assert (outcome.code, await read(tmp_path / "log")) == (0, "one\ntwo\n")
