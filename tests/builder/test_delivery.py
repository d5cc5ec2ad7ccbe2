"""Images on their way to the nodes."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

import pytest

from binderlet.builder import delivery as module
from binderlet.builder.base import BuildRequest
from binderlet.builder.delivery import DeliveringBuilder, Delivery, by_import, by_push, by_registry, run
from binderlet.builder.fake import FakeBuilder
from binderlet.errors import BuildFailed, ImagesUnavailable, MissingProgram, RegistryUnreachable
from binderlet.events.buildlog import BuildLog
from support.values import COMMIT

IMAGE = "registry.example.org/binder/i-a:1"


@pytest.fixture
def request_(tmp_path: Path) -> BuildRequest:
    """A build of an empty repository."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    return BuildRequest(COMMIT, checkout, IMAGE)


def shell(program: str) -> Delivery:
    """Deliver by a shell program, which has the image's name as its first argument."""
    return Delivery(("sh", "-c", program, "sh", "{image}"))


def test_commands() -> None:
    """A push is one command, an import two, with the image's name where the first wants it."""
    assert by_push("docker", {"A": "1"}) == Delivery(("docker", "push", "{image}"), environment={"A": "1"})
    assert by_import("podman", ["k3s", "ctr"], {}) == Delivery(("podman", "save", "{image}"), ("k3s", "ctr"), {})


async def test_delivered_with_the_build(request_: BuildRequest, tmp_path: Path) -> None:
    """When a build returns its image has been delivered, and the log says so."""
    log = BuildLog(tmp_path / "log")
    builder = DeliveringBuilder(FakeBuilder(), partial(run, shell(f'echo "$1" >{tmp_path}/got')))
    await builder.prepare(log)
    image = await builder.build(request_, log)
    assert image.name == IMAGE
    assert not builder.is_outdated(image)
    assert await asyncio.to_thread((tmp_path / "got").read_text) == f"{IMAGE}\n"
    log.finish()
    assert f"Delivering {IMAGE}" in await asyncio.to_thread((tmp_path / "log").read_text)
    assert builder.info == {"builder": "fake"}
    await builder.close()


async def test_tries_again(request_: BuildRequest, tmp_path: Path) -> None:
    """What fails once is tried again."""
    program = f"[ -e {tmp_path}/second ] || {{ touch {tmp_path}/second; echo refused >&2; exit 1; }}"
    log = BuildLog(tmp_path / "log")
    await DeliveringBuilder(FakeBuilder(), partial(run, shell(program)), first_pause=0).build(request_, log)
    log.finish()
    assert "Attempt 1 failed, trying again: refused" in await asyncio.to_thread((tmp_path / "log").read_text)


async def test_gives_up(request_: BuildRequest, tmp_path: Path) -> None:
    """What fails each time is an error with what was said last."""
    log = BuildLog(tmp_path / "log")
    deliver = partial(run, shell("echo denied; exit 1"))
    with pytest.raises(RegistryUnreachable, match="denied") as caught:
        await DeliveringBuilder(FakeBuilder(), deliver, first_pause=0).build(request_, log)
    log.finish()
    assert "kubernetes.delivery" in caught.value.hint


async def test_registry_that_is_away() -> None:
    """Its error is told in its own words, with what to do; a push that goes well says nothing."""
    pushed: list[str] = []

    async def push(name: str) -> None:
        pushed.append(name)
        if len(pushed) == 1:
            raise ImagesUnavailable("The registry does not answer.", hint="Start it.")

    deliver = by_registry(push)
    assert await deliver(IMAGE) == "The registry does not answer. Start it."
    assert await deliver(IMAGE) is None
    assert pushed == [IMAGE, IMAGE]


async def test_import_is_a_pipe(tmp_path: Path) -> None:
    """An import's second program reads what the first wrote, whatever its size."""
    source = "import sys; sys.stdout.write(sys.argv[1] * 100_000)"
    sink = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(str(len(sys.stdin.read())))"
    delivery = Delivery((sys.executable, "-c", source, "{image}"), (sys.executable, "-c", sink))
    assert await run(delivery, IMAGE) is None
    assert await asyncio.to_thread((tmp_path / "got").read_text) == str(len(IMAGE) * 100_000)


@pytest.mark.parametrize(
    ("source", "sink", "said"),
    [
        (("sh", "-c", "echo no such image >&2; exit 1"), ("cat",), "no such image"),
        (("echo",), ("sh", "-c", "cat >/dev/null; echo disk full >&2; exit 2"), "disk full"),
        (("sh", "-c", "exit 4"), (), "exit code 4"),
    ],
)
async def test_what_failed(source: tuple[str, ...], sink: tuple[str, ...], said: str) -> None:
    """Whichever program failed says why."""
    assert await run(Delivery(source, sink), IMAGE) == said


async def test_program_that_is_missing() -> None:
    """A program that is not installed is named; what ran already is ended."""
    with pytest.raises(MissingProgram, match="/absent"):
        await run(Delivery(("sleep", "100"), ("/absent",)), IMAGE)


async def test_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that does not end is ended."""
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    with pytest.raises(BuildFailed, match="took longer"):
        await run(Delivery(("sleep", "100")), IMAGE)
