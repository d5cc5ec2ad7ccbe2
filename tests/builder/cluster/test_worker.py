"""What is started in a builder pod for each build, with a real Podman and a real registry."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from binderlet.builder.cluster import worker as module
from binderlet.builder.cluster.checkout import pack
from binderlet.builder.cluster.messages import (
    CANCEL,
    Alive,
    Anew,
    Built,
    Busy,
    Failed,
    Line,
    Message,
    Order,
    decode,
    encode_order,
    frame,
)
from binderlet.builder.cluster.worker import LIMIT_VARIABLE, Place, Worker, extra_certificates, network_here
from binderlet.builder.job import Job
from binderlet.builder.keys import job_key
from binderlet.builder.toolchain import Toolchain
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BuildFailed, EngineUnavailable
from binderlet.images.shelf import Shelf
from support.eventually import eventually
from support.plain_registry import plain_registry
from support.pod_place import Pod, pod_place
from support.tiny_base import docker, make_tiny_base
from support.values import COMMIT

pytestmark = [pytest.mark.podman, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry."""
    with plain_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def pod(registry: str) -> Iterator[Pod]:
    """A place whose Podman can have a base image from the registry, where ``base`` has put it."""
    with pod_place() as made:
        tools = Toolchain("podman", made.podman, "")
        make_tiny_base(tools, "localhost/tiny:1")
        dockerfile = made.place.cache / "Dockerfile"
        dockerfile.write_text("FROM localhost/tiny:1\nLABEL binderlet.python=3.11\n")
        name = f"{registry}/binder/base:1"
        docker(
            made.podman,
            "build",
            "--format",
            "docker",
            "-q",
            "-t",
            name,
            "-f",
            str(dockerfile),
            str(dockerfile.parent / "work"),
        )
        docker(made.podman, "push", "--quiet", "--tls-verify=false", name)
        docker(made.podman, "image", "rm", "--force", name, "localhost/tiny:1")
        yield made


class Left(Exception):
    """The worker ends without ending the build."""


@dataclass
class Here:
    """One worker, and what it said."""

    order: Order
    checkout: Path
    place: Place
    said: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Have an input of its own."""
        self.reader = asyncio.StreamReader(limit=2**20)

    async def script(self, text: str) -> None:
        """Have a postBuild."""
        await asyncio.to_thread((self.checkout / "postBuild").write_text, f"#!/bin/bash\n{text}")

    async def run(self) -> None:
        """Run it on the order and the checkout."""
        self.reader.feed_data(frame(encode_order(self.order)))
        assert await pack(self.checkout, self.put) is None
        self.reader.feed_data(frame(b""))
        await Worker(self.reader, self.said.append, self.place, self.leave).run()

    async def put(self, piece: bytes) -> None:
        """Send a piece of the checkout."""
        self.reader.feed_data(frame(piece))

    def leave(self) -> None:
        """End as the program would."""
        raise Left

    @property
    def text(self) -> str:
        """The lines that it said."""
        return "\n".join(message.text for message in self.said if isinstance(message, Line))

    @property
    def end(self) -> Message:
        """What it said last but signs of life."""
        return [message for message in self.said if not isinstance(message, Alive)][-1]


@pytest.fixture
async def here(pod: Pod, registry: str, tmp_path: Path) -> Here:
    """A worker for a repository with a notebook."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    await asyncio.to_thread((checkout / "a.ipynb").write_text, "{}")
    order = Order(
        "build",
        BuilderSettings(base_image=f"{registry}/binder/base:1"),
        NetworkEnvironment(),
        (),
        Shelf(registry, registry, "binder/", is_plain=True),
        COMMIT,
        f"{registry}/binder/i-{tmp_path.name.lower().replace('_', '-')}:1",
    )
    return Here(order, checkout, pod.place)


def manifest(name: str) -> dict[str, object]:
    """Read an image's manifest from the registry."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    headers = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, object] = json.load(answer)
    return found


async def test_builds_and_pushes(here: Here, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is in the registry, its environment for others, too; what nobody needs here any more is removed."""
    monkeypatch.setattr(module, "ALIVE_EVERY", 0.1)
    await here.script("echo words\n")
    await here.run()
    end = here.end
    assert isinstance(end, Built), here.said
    assert end.image is not None
    assert end.image.labels["repo2docker.ref"] == COMMIT.sha
    assert "words" in here.text
    assert Alive() in here.said
    assert (await asyncio.to_thread(manifest, here.order.image))["schemaVersion"] == 2
    environment = end.image.labels["binderlet.environment"]
    shelf = here.order.shelf
    shared = await asyncio.to_thread(manifest, shelf.reference(f"binderlet/env:{environment}"))
    assert shared["schemaVersion"] == 2
    names = await asyncio.to_thread(docker, pod.podman, "images", "--format", "{{.Repository}}:{{.Tag}}")
    assert here.order.image not in names
    assert environment in names
    # The next one finds nothing to do for that: and one that has seen lines is told the others.
    following = Here(replace(here.order, image=f"{here.order.image}2", seen=1), here.checkout, here.place)
    monkeypatch.setenv(LIMIT_VARIABLE, "1000")
    await following.run()
    assert "COMMIT binderlet/env" not in following.text, "it was there already"
    assert len(following.text.splitlines()) < len(here.text.splitlines())
    names = await asyncio.to_thread(docker, pod.podman, "images", "--format", "{{.Repository}}:{{.Tag}}")
    assert environment not in names, "there was no room for it"
    assert not list((here.place.cache / "work").glob("*-*"))


async def test_prepare(here: Here) -> None:
    """A pod can have its base image before the first build."""
    here.order = replace(here.order, verb="prepare", commit=None, image="")
    (here.checkout / "a.ipynb").unlink()
    await here.run()
    assert isinstance(here.end, Built)
    assert here.end.image is None


async def test_failure(here: Here) -> None:
    """A script that fails is told, with what it printed."""
    await here.script("echo words\nexit 7\n")
    await here.run()
    assert isinstance(here.end, Failed)
    assert isinstance(here.end.error, BuildFailed)
    assert "words" in here.text


async def test_registry_says_no(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that cannot be pushed is a failure of its own, after some attempts."""
    monkeypatch.setattr("binderlet.builder.cluster.store.FIRST_PAUSE", 0.0)
    here.order = replace(here.order, shelf=replace(here.order.shelf, host="127.0.0.1:1"), image="127.0.0.1:1/i:1")
    await here.run()
    assert isinstance(here.end, Failed)
    assert "could not be pushed" in here.end.error.message
    assert "Attempt 2" in here.text


async def test_too_much_disk(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that writes without end is ended."""
    monkeypatch.setattr(module, "MEASURE_EVERY", 0.1)
    await here.script("head -c 30000000 /dev/zero >big\nsleep 600\n")
    here.order = replace(here.order, settings=here.order.settings.model_copy(update={"disk_limit": 10_000_000}))
    await here.run()
    assert isinstance(here.end, Failed)
    assert "wrote more than" in here.end.error.message


@asynccontextmanager
async def sleeping(here: Here) -> AsyncIterator[asyncio.Future[tuple[None]]]:
    """Give a build that waits for its end."""
    await here.script("echo begun\nsleep 600\n")
    running = asyncio.gather(here.run())
    await eventually(lambda: "begun" in here.text, seconds=120)
    yield running


async def test_given_up(here: Here) -> None:
    """A build that nobody wants any more ends, and nothing is said."""
    async with sleeping(here) as running:
        here.reader.feed_data(frame(CANCEL))
        await running
    assert not any(isinstance(message, Built | Failed) for message in here.said)
    jobs = here.place.state / "jobs"
    assert not await asyncio.to_thread(lambda: any(Job(folder).is_running() for folder in jobs.glob("*")))


async def test_connection_is_lost(here: Here) -> None:
    """The worker leaves at once, and the build to the next worker."""
    async with sleeping(here) as running:
        here.reader.feed_eof()
        with pytest.raises(Left):
            await running


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock as another process would."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


async def test_busy(here: Here) -> None:
    """There is one build at a time, and one that was left counts, unless it is the very same."""
    work = here.place.cache / "work"
    with locked(work / "lock"):
        await here.run()
    assert here.said == [Busy()]
    await asyncio.to_thread((work / "current").write_text, "another:1")
    left = here.place.state / "jobs" / job_key("another:1")
    left.mkdir(parents=True)
    again = Here(here.order, here.checkout, here.place)
    with locked(left / "lock"):
        await again.run()
    assert again.said == [Busy()]
    await asyncio.to_thread((work / "current").unlink)


async def test_broken_archive(here: Here) -> None:
    """Half a repository is not built."""
    pieces: list[bytes] = []

    async def keep(piece: bytes) -> None:
        pieces.append(piece)

    assert await pack(here.checkout, keep) is None
    here.reader.feed_data(frame(encode_order(here.order)) + frame(pieces[0][:1500]))
    here.reader.feed_data(frame(b""))
    await Worker(here.reader, here.said.append, here.place, here.leave).run()
    assert isinstance(here.end, Failed)
    assert isinstance(here.end.error, EngineUnavailable)
    assert f"whole in builder pod {socket.gethostname()}: " in here.end.error.message


async def test_another_pod_of_that_name(here: Here, tmp_path: Path) -> None:
    """Who has seen lines of a pod whose cache is gone is told that they are counted anew, then all of them."""
    place = replace(here.place, cache=tmp_path / "empty")
    (place.cache / "work").mkdir(parents=True)
    place.state.mkdir()
    again = Here(replace(here.order, seen=7), here.checkout, place)
    await again.script("echo words\n")
    await again.run()
    assert isinstance(again.end, Built), again.said
    assert again.said.index(Anew()) < next(at for at, said in enumerate(again.said) if isinstance(said, Line))
    assert "words" in again.text


SERVE = """
import asyncio, pathlib, sys
from binderlet.builder.cluster import worker
place = worker.Place(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]), "/nonexistent/podman.sock")
worker.Place = lambda: place
asyncio.run(worker.serve())
"""


@contextmanager
def served(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program as it is started in a pod, with folders of the test's own."""
    (folder / "work").mkdir()
    (folder / "state").mkdir()
    command = [sys.executable, "-c", SERVE, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


ORDER = Order("prepare", BuilderSettings(), NetworkEnvironment(), (), Shelf("r:5000", "r:5000", password="secret"))


def test_program_says_how_it_ended(tmp_path: Path) -> None:
    """The program reads its order from its input, and says on its output, and nothing else there, how that ended."""
    with served(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # The input stays open: without it the program would leave the build alone.
        process.stdin.write(frame(encode_order(ORDER)) + frame(b""))
        process.stdin.flush()
        output, errors = process.stdout.read(), process.stderr.read()
        assert process.wait(60) == 0
    said = [decode(line) for line in output.splitlines()]
    assert isinstance(said[-1], Failed), said
    assert "/nonexistent/podman.sock" in said[-1].error.message
    assert b"secret" not in output + errors


def test_program_without_an_order(tmp_path: Path) -> None:
    """A connection that is lost before there was anything to do is no error."""
    with served(tmp_path) as process:
        assert process.communicate(frame(encode_order(ORDER))[:9], timeout=60) == (b"", b"")
    assert process.returncode == 0


def test_program_leaves_when_nobody_reads(tmp_path: Path) -> None:
    """A program whose words nobody takes ends at once, and does not take that for an error of the build."""
    with served(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(frame(encode_order(ORDER)) + frame(b""))
        process.stdin.flush()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


async def test_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within this process: an order of another version is refused; without anybody who reads it leaves, as above."""
    body = json.loads(encode_order(ORDER)) | {"version": "0"}
    ends: list[int] = []
    monkeypatch.setattr(structlog, "configure", lambda **_: None)
    monkeypatch.setattr(os, "_exit", ends.append)
    for taken in (io.BytesIO(), None):
        reading, writing = os.pipe()
        with os.fdopen(reading) as given:
            os.write(writing, frame(json.dumps(body).encode()))
            os.close(writing)
            monkeypatch.setattr(sys, "stdin", given)
            monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=taken or Deaf()))
            await module.serve()
            await asyncio.sleep(0)
        if taken is not None:
            assert isinstance(decode(taken.getvalue()), Failed)
    assert ends == [0]


class Deaf(io.RawIOBase):
    """What nobody reads from."""

    def write(self, _data: object) -> int:
        """Say so."""
        raise BrokenPipeError


def test_network_here(tmp_path: Path) -> None:
    """Certificates that the control plane's machine trusts are trusted beside the pod's own."""
    place = Place(tmp_path, tmp_path, bundle=tmp_path / "bundle.pem")
    place.state.mkdir()
    order = Order("prepare", BuilderSettings(), NetworkEnvironment(no_proxy="x"), (), Shelf("a", "a"))
    assert network_here(order, place).ca_bundle is None
    place.bundle.write_text("OURS")
    assert network_here(order, place).ca_bundle == place.bundle
    found = network_here(replace(order, certificates=("THEIRS",)), place)
    assert found.no_proxy == "x"
    assert found.ca_bundle is not None
    assert found.ca_bundle.read_text() == "OURS\nTHEIRS"


def test_extra_certificates(tmp_path: Path) -> None:
    """Only what somebody added to a machine is sent."""
    assert extra_certificates(NetworkEnvironment()) == ()
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert len(extra_certificates(NetworkEnvironment(ca_bundle=bundle))) == 1
