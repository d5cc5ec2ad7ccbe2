"""What one build's steps may do, on pretended files of the kernel and on the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder import group, limits, steps
from binderlet.builder.keys import job_key
from binderlet.builder.steps import Limits, Steps, mark, written
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BuildFailed
from support.eventually import eventually
from support.workshop import Workshop

MARK = "abc.binderlet.invalid"


class Kernel:
    """Files that look like the kernel's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        for name in ("cpu", "pids", "proc"):
            (folder / name).mkdir()

    def step(self, name: str, process: int, *, mark: str = MARK, oom: int = -500, upper: str = "") -> None:
        """Start a step with one process."""
        for controller, file in (("cpu", "cpu.shares"), ("pids", "pids.max")):
            (self.folder / controller / name).mkdir()
            (self.folder / controller / name / file).write_text("1024")
        (self.folder / "pids" / name / "cgroup.procs").write_text(f"{process}\n")
        proc = self.proc / str(process)
        proc.mkdir()
        (proc / "environ").write_text(f"PATH=/bin\0no_proxy={mark}\0")
        (proc / "oom_score_adj").write_text(f"{oom}\n")
        line = f"1 2 0:3 / / rw,relatime master:4 - overlay overlay rw,lowerdir=/l,upperdir={upper},workdir=/w\n"
        (proc / "mountinfo").write_text(f"1 2 0:3 / /proc rw - proc proc rw\n{line if upper else ''}")

    def stop(self, name: str) -> None:
        """End a step."""
        for controller in ("cpu", "pids"):
            for file in (self.folder / controller / name).iterdir():
                file.unlink()
            (self.folder / controller / name).rmdir()

    def tended(self, **more: object) -> Steps:
        """Give what tends them."""
        cpu, pids = [["/no/such/folder", str(self.folder / name)] for name in ("cpu", "pids")]
        limits = Limits(MARK, cpu, pids, processes=64, oom_score=900)
        return Steps(limits._replace(**more), proc=str(self.proc))  # type: ignore[arg-type] # fields by name

    def read(self, path: str) -> str:
        """Give what a file has now."""
        return (self.folder / path).read_text().strip()


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """No step runs."""
    return Kernel(tmp_path)


def test_each_step_is_limited(kernel: Kernel) -> None:
    """Any step gets its limit of processes and is the kernel's choice before the service, whoever's it is."""
    kernel.step("a", 7)
    kernel.step("b", 8, mark="other.binderlet.invalid", oom=950)
    assert kernel.tended().tend(0) == ""
    assert [kernel.read(f"pids/{name}/pids.max") for name in "ab"] == ["64", "64"]
    assert [kernel.read(f"proc/{process}/oom_score_adj") for process in (7, 8)] == ["900", "950"]


def test_steps_share_their_builds_part(kernel: Kernel) -> None:
    """However many steps a build runs at once, it has one build's part of the CPU; nobody else's is touched."""
    tended = kernel.tended()
    kernel.step("other", 1, mark="other.binderlet.invalid")
    kernel.step("a", 2)
    tended.tend(0)
    kernel.step("b", 3)
    tended.tend(1)
    assert [kernel.read(f"cpu/{name}/cpu.shares") for name in ("a", "b", "other")] == ["512", "512", "1024"]
    kernel.stop("a")
    tended.tend(2)
    assert kernel.read("cpu/b/cpu.shares") == "1024"


def test_processes_of_a_settled_step_are_left_alone(kernel: Kernel) -> None:
    """What a step starts later has its importance from the one that started it."""
    tended = kernel.tended(processes=0)
    kernel.step("a", 2)
    tended.tend(0)
    (kernel.proc / "2" / "oom_score_adj").write_text("0")
    tended.tend(steps.SETTLED + 1)
    assert kernel.read("proc/2/oom_score_adj") == "0"
    assert kernel.read("pids/a/pids.max") == "1024"


def test_a_step_that_starts_slowly(kernel: Kernel) -> None:
    """However long a container takes to become the step's own program, it is recognised then."""
    tended = kernel.tended()
    kernel.step("a", 2)
    kernel.step("b", 3)
    ready = (kernel.proc / "3" / "environ").read_text()
    (kernel.proc / "3" / "environ").write_text("_LIBCONTAINER_INITPIPE=3\0")
    tended.tend(0)
    tended.tend(100)
    assert kernel.read("cpu/b/cpu.shares") == "1024"
    (kernel.proc / "3" / "environ").write_text(ready)
    tended.tend(200)
    assert [kernel.read(f"cpu/{name}/cpu.shares") for name in "ab"] == ["512", "512"]


def test_what_is_not_there(kernel: Kernel, tmp_path: Path) -> None:
    """Groups that do not exist, processes that ended and files that may not be written stop nothing."""
    assert Steps(Limits(MARK)).tend(0) == ""
    kernel.step("a", 2)
    (kernel.proc / "2" / "environ").unlink()
    (kernel.proc / "2" / "oom_score_adj").unlink()
    (kernel.folder / "pids/a/pids.max").unlink()
    (kernel.folder / "pids/a/pids.max").symlink_to("/dev/full")
    assert kernel.tended(cpu=[]).tend(0) == ""
    assert steps._folders(str(tmp_path / "none")) == set()


def test_disk(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that has filled more than it may is noticed; that others fill the disk is not its fault."""
    upper = tmp_path / "upper"
    (upper / "sub").mkdir(parents=True)
    kernel.step("a", 2, upper=str(upper))
    kernel.step("b", 3)
    free = [10**9]
    monkeypatch.setattr(steps, "_free", lambda _: free[0])
    tended = kernel.tended(disk=1_000_000)
    assert tended.tend(0) == ""
    free[0] = 0
    assert tended.tend(0.5) == ""
    assert tended.tend(2) == ""
    (upper / "sub" / "big").write_bytes(b"x" * 2_000_000)
    assert tended.tend(4) == "disk"


def test_written(tmp_path: Path) -> None:
    """What is below a folder counts once, links do not lead elsewhere, and what is gone is nothing."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(b"x" * 100_000)
    (tmp_path / "a/again").hardlink_to(tmp_path / "a/file")
    (tmp_path / "link").symlink_to("/usr")
    assert 100_000 <= written(str(tmp_path)) < 200_000
    assert written(str(tmp_path / "none")) == 0
    assert steps._free(str(tmp_path)) > 0


def write(workshop: Workshop, name: str, text: str) -> None:
    """Put one file into the checkout."""
    (workshop.checkout / name).write_text(text)


WAIT = "for i in {{1..400}}; do [ {} ] && exit 0; sleep 0.05; done; exit 3"


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_importance_of_real_steps(workshop: Workshop) -> None:
    """Where memory runs out, a step of any Dockerfile goes before the service and the engine."""
    check = WAIT.format(f'"$(cat /proc/self/oom_score_adj)" = {group.OOM_SCORE}')
    name = workshop.bases.base.name
    await asyncio.to_thread(write, workshop, "Dockerfile", f"FROM {name}\nRUN {check}\n")
    await workshop.build()


@pytest.mark.docker
@pytest.mark.timeout(90)
async def test_part_of_real_steps(workshop: Workshop, tmp_path: Path) -> None:
    """Two stages of one Dockerfile that run at once have together what another build has alone."""
    name = workshop.bases.base.name
    stage = "RUN for i in {1..1200}; do sleep 0.05; done"
    text = f"FROM {name} AS a\n{stage}\nFROM {name} AS b\n{stage}; true\nFROM {name}\n"
    text += "COPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n"
    await asyncio.to_thread(write, workshop, "Dockerfile", text)
    other = replace(workshop.request(), checkout=tmp_path / "other")
    await asyncio.to_thread(other.checkout.mkdir)
    await asyncio.to_thread((other.checkout / "Dockerfile").write_text, f"FROM {name}\n{stage}; : other\n")
    requests = [workshop.request(), other]
    usual = await asyncio.to_thread(group.step_limits, BuilderSettings())
    both, one = [usual._replace(mark=mark(job_key(request.image))) for request in requests]

    async def is_fair() -> bool:
        found = [await asyncio.to_thread(shares, limits) for limits in (both, one)]
        return found == [[usual.share // 2, usual.share // 2], [usual.share]]

    logs = [workshop.log(), workshop.log("log-of-other")]
    builds = asyncio.gather(*map(workshop.builder.build, requests, logs), return_exceptions=True)
    try:
        await eventually(is_fair, seconds=50)
    finally:
        builds.cancel()
        await asyncio.gather(builds, return_exceptions=True)


def shares(limits: Limits) -> Sequence[int]:
    """Give the shares of the steps of one build that run now."""
    cpu = Path(steps._first(limits.cpu) or "/no/such/folder")
    pids = Path(steps._first(limits.pids) or "/no/such/folder")
    found = []
    for folder in steps._folders(str(pids)):
        processes = steps._numbers(str(pids / folder / "cgroup.procs"))[:1]
        if any(limits.mark.encode() in steps._read(f"/proc/{process}/environ") for process in processes):
            found += steps._numbers(str(cpu / folder / limits.share_file))
    return found


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_forks_without_end(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that forks without end fails, in words, and takes no other build's processes."""

    def few(settings: BuilderSettings) -> Limits:
        return group.step_limits(settings)._replace(processes=64)

    monkeypatch.setattr(limits, "step_limits", few)
    python = "/srv/conda/envs/notebook/bin/python"
    script = f"#!{python}\nimport os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(100)\n"
    await asyncio.to_thread(write, workshop, "postBuild", script)
    with pytest.raises(BuildFailed, match="more processes than it may have") as caught:
        await workshop.build()
    assert "builder.group_processes" in caught.value.hint


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_writes_without_end(workshop: Workshop) -> None:
    """A script that fills the disk is ended, the message says how much it may fill, and nothing of it is kept."""
    script = "#!/bin/bash\nwhile :; do head -c 20000000 /dev/zero >> big; sleep 0.2; done\n"
    await asyncio.to_thread(write, workshop, "postBuild", script)
    builder = workshop.another(BuilderSettings(disk_limit=128 * 1024**2))
    with pytest.raises(BuildFailed, match=r"more than 128M") as caught:
        await builder.build(workshop.request(), workshop.log())
    assert "builder.disk_limit" in caught.value.hint
