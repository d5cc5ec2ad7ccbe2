"""Solving for real: the program, the library and a channel on loopback."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import pytest

from binderlet.builder.conda.environment_file import EnvironmentFile, read
from binderlet.builder.conda.recipe import Solution
from binderlet.builder.conda.solver import CondaSolver
from binderlet.builder.job import JobSpec, Outcome
from binderlet.builder.running import Jobs
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository, BuildFailed, BuildTimeout, RegistryUnreachable
from binderlet.events.buildlog import BuildLog
from support.conda_channel import Served
from support.tiny_base import TinyBase


class Bench:
    """A solver in a folder of its own, with ``ours`` as the only channel."""

    def __init__(self, folder: Path, mirror: str, *, channel: str = "ours", machine: str = "") -> None:
        self.folder = folder
        settings = BuilderSettings(conda_channels=[channel])
        network = NetworkEnvironment(conda_mirror=mirror, ca_bundle=folder / "ca.pem")
        folder.mkdir(exist_ok=True)
        (folder / "ca.pem").touch()
        self.jobs = Jobs(folder / "jobs")
        self.log = BuildLog(folder / "log")
        self.solver = CondaSolver(settings, network, self.jobs, folder / "conda", machine or platform.machine())

    async def solve(self, *specs: str, exclude_newer: str = "") -> dict[str, str]:
        """Give name and version of what an environment of these packages has."""
        found = await self.solution(*specs, exclude_newer=exclude_newer)
        return {entry["name"]: f"{entry['version']} {entry['build']}" for entry in found.packages}

    async def solution(self, *specs: str, exclude_newer: str = "") -> Solution:
        """Solve."""
        lines = "".join(f"  - {spec}\n" for spec in specs)
        found = read(f"dependencies:\n{lines}".encode(), "environment.yml")
        return await self.solver.solve(
            found, "job", self.log, deadline=time.monotonic() + 15, exclude_newer=exclude_newer
        )

    async def text(self) -> str:
        """Give the log."""
        await self.log.flush()
        return self.log.path.read_text(encoding="utf-8")


@pytest.fixture
def bench(tmp_path: Path, channels: Served) -> Bench:
    """A solver on the channel."""
    return Bench(tmp_path, channels.url)


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("toy", "2.0 py_0"),
        ("toy=1", "1.0 py_1"),
        ("toy 1.0", "1.0 py_1"),
        ("toy=1.0=py_0", "1.0 py_0"),
        ("toy >=1,<2", "1.0 py_1"),
        ("ours::toy =2", "2.0 py_0"),
    ],
)
async def test_pins(bench: Bench, spec: str, version: str) -> None:
    """Versions and build strings are as asked, in all of conda's ways to write them."""
    found = await bench.solve(spec)
    assert found["toy"] == version
    assert found["jupyterlab"] == "4.1 0"


async def test_python_of_the_file(bench: Bench) -> None:
    """The version that the file pins is taken, not the newest."""
    assert (await bench.solve(f"python={TinyBase.python}"))["python"].startswith(f"{TinyBase.python}.")
    assert (await bench.solve("python=3.99"))["python"] == "3.99.0 0"


async def test_second_time_downloads_nothing(bench: Bench, channels: Served) -> None:
    """Archives are kept, each checked by its hash; what comes is told."""
    first = await bench.solution("toy=1")
    assert all(os.path.getsize(entry["archive"]) == entry["size"] for entry in first.packages)  # noqa: ASYNC240, PTH202 - small
    before = sum(path.endswith((".conda", ".tar.bz2")) for path in channels.requests)
    assert await bench.solution("toy=1") == first
    assert sum(path.endswith((".conda", ".tar.bz2")) for path in channels.requests) == before
    text = await bench.text()
    assert "with packages from ours..." in text
    assert "6 conda packages; downloading 6 of them" in text
    assert "6 conda packages; downloading 0 of them" in text


async def test_packages_of_a_lock(bench: Bench, tmp_path: Path, channels: Served) -> None:
    """What a lock names is downloaded, each checked by its hash, and no channel is asked what it has."""
    solved = await bench.solution("toy=1")
    archives = tuple(f"{entry['url']}#{entry['sha256']}" for entry in solved.packages)
    asked = len(channels.requests)
    locked = Bench(tmp_path / "locked", channels.url)
    found = EnvironmentFile("environment.yml", specs=("toy",), archives=archives)
    again = await locked.solver.solve(found, "job", locked.log, deadline=time.monotonic() + 15)
    names = ("name", "version", "build", "sha256", "url")
    assert [[entry[name] for name in names] for entry in again.packages] == [
        [entry[name] for name in names] for entry in solved.packages
    ]
    assert again.has_jupyter
    assert all(path.endswith((".conda", ".tar.bz2")) for path in channels.requests[asked:])
    assert "packages that the lock names" in await locked.text()


async def test_impossible(bench: Bench) -> None:
    """What cannot be is told in the solver's words, in one sentence, without a stack trace."""
    with pytest.raises(BadRepository) as error:
        await bench.solve("toy=1", "picky")
    message = str(error.value)
    assert message.startswith("environment.yml cannot be installed: ")
    assert "gear >=5" in message
    assert "\n" not in message
    with pytest.raises(BadRepository, match="nosuch"):
        await bench.solve("nosuch=1")
    assert "Traceback" not in await bench.text()


async def test_bad_spec(bench: Bench) -> None:
    """A line that conda could not read is told with its number."""
    with pytest.raises(BadRepository, match=r"environment\.yml, line 3: 'toy=>1' is not a package as conda writes it"):
        await bench.solve("gear", "toy=>1")


async def test_unknown_channel(tmp_path: Path, channels: Served) -> None:
    """A channel that does not exist, or whose server does not answer, is named; its password is not."""
    with pytest.raises(RegistryUnreachable, match="The conda channel nowhere does not exist"):
        await Bench(tmp_path, channels.url, channel="nowhere").solve("toy")
    lost = Bench(tmp_path, "http://user:se-cret@127.0.0.1:1/t/to-ken", channel="lost")
    with pytest.raises(RegistryUnreachable, match="The conda channel lost cannot be reached from here") as error:
        await lost.solve("toy")
    everything = str(error.value) + await lost.text()
    assert "se-cret" not in everything
    assert "to-ken" not in everything


async def test_mirror_with_a_password(tmp_path: Path, channels: Served) -> None:
    """The mirror gets its password; neither the answer nor the log has it."""
    bench = Bench(tmp_path, channels.url.replace("//", "//user:se-cret@"))
    found = await bench.solution("toy")
    assert any(channels.authorization)
    assert "se-cret" not in f"{[entry['url'] for entry in found.packages]}{await bench.text()}"


async def test_day(bench: Bench) -> None:
    """Packages newer than the day are left out; here that is all of them."""
    with pytest.raises(BadRepository, match="cannot be installed"):
        await bench.solve("toy", exclude_newer="2020-01-01")


async def test_without_jupyter(bench: Bench) -> None:
    """Where no Jupyter of the channel goes with what is asked for, it is left to the package index, and said."""
    found = await bench.solution("toy", "jupyterlab")
    assert found.has_jupyter
    assert not (await bench.solution("shy")).has_jupyter
    assert "it is taken from the package index" in await bench.text()


class Ended(Jobs):
    """Jobs that end without an answer."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(Path("/nowhere"))
        self.outcome = outcome

    async def run(self, *arguments: Any, deadline: float) -> Outcome:  # noqa: ANN401 - as the one it stands for
        """Give the outcome, having looked at the job."""
        assert isinstance(arguments[2](deadline), JobSpec)
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(-9, "timeout", ""), BuildTimeout),
        (Outcome(-11, "exited", ""), BuildFailed),
    ],
)
async def test_no_answer(tmp_path: Path, outcome: Outcome, error: type[Exception]) -> None:
    """A solver that is ended, or that crashes, fails this build and nothing else."""
    jobs = Ended(outcome)
    made = CondaSolver(BuilderSettings(), NetworkEnvironment(), jobs, tmp_path, "x86_64")
    with pytest.raises(error):
        await made.solve(read(b"", "environment.yml"), "job", BuildLog(tmp_path / "log"), deadline=0)


@pytest.mark.parametrize(
    ("kind", "error"), [("failed", BuildFailed), ("download", RegistryUnreachable), ("spec", BadRepository)]
)
async def test_answers(tmp_path: Path, kind: str, error: type[Exception]) -> None:
    """Each answer has its error."""
    (tmp_path / "solved").mkdir()
    (tmp_path / "solved" / "job.json").write_text(f'{{"error": "{kind}", "about": "x", "message": "why"}}')
    made = CondaSolver(BuilderSettings(), NetworkEnvironment(), Ended(Outcome(1, "exited", "")), tmp_path, "x86_64")
    with pytest.raises(error, match="why"):
        await made.solve(read(b"", "environment.yml"), "job", BuildLog(tmp_path / "log"), deadline=0)


async def test_answer_of_another_shape(tmp_path: Path) -> None:
    """An answer that is none counts as none."""
    (tmp_path / "solved").mkdir()
    (tmp_path / "solved" / "job.json").write_text("[]")
    made = CondaSolver(BuilderSettings(), NetworkEnvironment(), Ended(Outcome(0, "exited", "")), tmp_path, "sparc")
    with pytest.raises(BuildFailed):
        await made.solve(read(b"", "environment.yml"), "job", BuildLog(tmp_path / "log"), deadline=0)
