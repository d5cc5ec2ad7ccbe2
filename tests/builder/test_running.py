"""Jobs that several builds wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from binderlet.builder.context import Context
from binderlet.builder.job import Job, JobSpec, Outcome
from binderlet.builder.running import Jobs
from binderlet.events.buildlog import BuildLog


class Yard:
    """Runs shell scripts as jobs named ``key``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = Jobs(folder / "jobs")

    def log(self, name: str) -> BuildLog:
        """Give a log."""
        return BuildLog(self.folder / name)

    async def run(self, script: str, log: str = "log", *, seconds: float = 15.0) -> Outcome:
        """Run a script, or follow the one that runs."""

        def spec(timeout: float) -> JobSpec:
            return JobSpec(["sh", "-c", script], log=self.folder / log, timeout=timeout)

        context = Context(self.jobs.path("key"), "FROM x\n")
        return await self.jobs.run("key", context, spec, self.log(log), deadline=time.monotonic() + seconds)

    async def read(self, log: str = "log") -> str:
        """Read a log."""
        return await asyncio.to_thread((self.folder / log).read_text)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true."""
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A folder for jobs."""
    return Yard(tmp_path)


async def test_run_and_forget(yard: Yard) -> None:
    """A job runs in its prepared folder, which is gone afterwards."""
    outcome = await yard.run("cat Dockerfile; exit 2")
    assert (outcome.code, await yard.read()) == (2, "FROM x\n")
    assert not await asyncio.to_thread(yard.jobs.path("key").exists)
    assert not await yard.jobs.is_known("key")


async def test_two_builds_share_one_job(yard: Yard) -> None:
    """The second build that needs the same thing follows the first one's job, with all its lines."""
    first, second = await asyncio.gather(yard.run("echo $$; sleep 0.4; echo end", "one"), yard.run("echo never", "two"))
    assert first == second
    assert await yard.read("one") == await yard.read("two")


async def test_deadline(yard: Yard) -> None:
    """The deadline is the build's, not the job's."""
    assert (await yard.run("sleep 60", seconds=-5)).reason == "timeout"


async def test_cancelling_ends_the_job(yard: Yard) -> None:
    """Nobody waits, nothing runs."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(yard.run("echo started; sleep 60"), 1.0)
    assert not await asyncio.to_thread(Job(yard.jobs.path("key")).is_running)
    assert not await asyncio.to_thread(yard.jobs.path("key").exists)


async def test_cancelling_one_of_two_ends_nothing(yard: Yard) -> None:
    """A job goes on while another build waits for it."""

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(yard.run("sleep 2; echo end", "one"), 1.0)

    async def patient() -> Outcome:
        await yard.wait_for((yard.folder / "one").exists)
        return await yard.run("never", "two")

    _, outcome = await asyncio.gather(impatient(), patient())
    assert outcome.code == 0
    assert await yard.read("two") == "end\n"


async def start_elsewhere(yard: Yard, script: str) -> Job:
    """Start a job as an earlier process would have."""
    job = Job(yard.jobs.path("key"))
    await job.start(JobSpec(["sh", "-c", script], log=yard.folder / "log"))
    return job


async def test_a_job_of_an_earlier_process_is_followed(yard: Yard) -> None:
    """A job that still runs is not started again; its lines are in the log once."""
    await start_elsewhere(yard, "echo one; sleep 0.5; echo two")
    assert await yard.jobs.is_known("key")
    assert (await yard.run("echo never")).code == 0
    assert await yard.read() == "one\ntwo\n"


async def test_an_outcome_of_an_earlier_process_counts(yard: Yard) -> None:
    """A job that ended while nobody looked is not run again."""
    job = await start_elsewhere(yard, "echo one; exit 4")
    await job.wait()
    assert (await yard.run("echo never")).code == 4
    assert await yard.read() == "one\n"


async def test_an_old_outcome_of_another_build_does_not_count(yard: Yard) -> None:
    """What is not in this build's log is old news, and done again."""
    job = await start_elsewhere(yard, "exit 4")
    await job.wait()
    assert (await yard.run("echo again", "other")).code == 0
    assert await yard.read("other") == "again\n"


async def test_cancelled_while_clearing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose job would not end stays, so that it can still be found."""

    async def end_nothing(_: Job) -> None:
        return None

    monkeypatch.setattr(Job, "end", end_nothing)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(yard.run("sleep 2"), 0.5)
    job = Job(yard.jobs.path("key"))
    assert await asyncio.to_thread(job.is_running)
    monkeypatch.undo()
    await job.end()
