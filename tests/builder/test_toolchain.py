"""Choosing the build tool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from binderlet.builder.toolchain import BuildCommand, Run, Toolchain, choose_toolchain, configured_proxies, run_probe
from binderlet.errors import MissingProgram


def programs(tmp_path: Path, *names: str) -> str:
    """Make programs in folders of their own, and give the PATH."""
    folders = []
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n# {name}\nexit 0\n")
        path.chmod(0o755)
        folders.append(str(path.parent))
    return ":".join(folders)


def answers(known: dict[str, str]) -> Run:
    """Answer probes from a table: the program's folder and its arguments."""

    async def run(command: Sequence[str]) -> str | None:
        return known.get(f"{Path(command[0]).parent.name} {' '.join(command[1:])}")

    return run


OLD = "Docker version 20.10.24+dfsg1, build 297e128"
NEW = "Docker version 28.2.2, build e6534b4"


@pytest.mark.parametrize(
    ("known", "kind", "folder", "version"),
    [
        ({"a --version": OLD}, "docker", "a", "20.10.24"),
        ({"a --version": NEW, "b --version": OLD}, "docker", "b", "20.10.24"),
        ({"a --version": NEW, "a buildx version": "github.com/docker/buildx v0.24.0 d0e5e86"}, "buildx", "a", "0.24.0"),
        ({"a --version": OLD, "b --version": NEW, "b buildx version": "buildx 0.10.5"}, "buildx", "b", "0.10.5"),
        ({"a --version": "broken", "b --version": OLD}, "docker", "b", "20.10.24"),
        ({"a --version": OLD, "b --version": "Docker version 19.03.1"}, "docker", "a", "20.10.24"),
    ],
)
async def test_choice(tmp_path: Path, known: dict[str, str], kind: str, folder: str, version: str) -> None:
    """The buildx plugin first, then a CLI that is old enough not to need it, wherever it is on PATH."""
    path = programs(tmp_path, "a/docker", "b/docker")
    found = await choose_toolchain(path=path, run=answers(known), socket="/run/x.sock")
    assert (found.kind, Path(found.program).parent.name, found.version) == (kind, folder, version)
    assert found.version in found.description
    assert found.environment["DOCKER_HOST"] == "unix:///run/x.sock"
    assert found.environment["DOCKER_BUILDKIT"] == "1"


async def test_no_buildkit(tmp_path: Path) -> None:
    """A new CLI without the plugin cannot build; the hint names packages."""
    with pytest.raises(MissingProgram, match="the buildx plugin is missing") as caught:
        await choose_toolchain(path=programs(tmp_path, "a/docker"), run=answers({"a --version": NEW}))
    assert "docker-buildx-plugin" in caught.value.hint


async def test_no_program(tmp_path: Path) -> None:
    """Without any program the hint is the same."""
    with pytest.raises(MissingProgram, match="none is here"):
        await choose_toolchain(path=str(tmp_path), run=answers({}))


async def test_podman(tmp_path: Path) -> None:
    """Podman's engine is built for by podman, whatever else is here."""
    path = programs(tmp_path, "a/docker", "p/podman")
    known = {"a --version": OLD, "p --version": "podman version 4.3.1"}
    found = await choose_toolchain(path=path, run=answers(known), engine_is_podman=True, socket="/run/p.sock")
    assert (found.kind, found.version) == ("podman", "4.3.1")
    assert found.environment["CONTAINER_HOST"] == "unix:///run/p.sock"
    assert not found.has_cache_mounts


async def test_no_podman(tmp_path: Path) -> None:
    """Podman's socket without its program is of no use, nor is a program that does not work."""
    with pytest.raises(MissingProgram, match="podman"):
        await choose_toolchain(path=programs(tmp_path, "p/podman"), run=answers({}), engine_is_podman=True)


async def test_same_file_twice(tmp_path: Path) -> None:
    """A program that PATH names twice is asked once."""
    path = programs(tmp_path, "a/docker")
    asked: list[Sequence[str]] = []

    async def run(command: Sequence[str]) -> str | None:
        asked.append(command)
        return None

    with pytest.raises(MissingProgram):
        await choose_toolchain(path=f"{path}:{path}:", run=run)
    assert len(asked) == 2


@pytest.mark.docker
async def test_this_machine() -> None:
    """On this machine there is one."""
    assert (await choose_toolchain()).version


BUILD = BuildCommand(
    dockerfile=Path("/job/Dockerfile"),
    context=Path("/job/context"),
    tag="name:tag",
    labels={"b": "2", "a": "1"},
    arguments={"HTTP_PROXY": "http://proxy.test"},
    secrets={"ca": Path("/ca.pem")},
    cache_namespace="ns",
    memory=1024,
)
COMMON = ["--file", "/job/Dockerfile", "--tag", "name:tag"]
REST = ["--label", "a=1", "--label", "b=2", "--secret", "id=ca,src=/ca.pem", "/job/context"]
ARGUMENTS = ["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=ns", "--build-arg", "HTTP_PROXY=http://proxy.test"]


def test_docker_command_line() -> None:
    """The old CLI."""
    command = ["/usr/bin/docker", "build", "--progress", "plain", *COMMON, *ARGUMENTS, *REST]
    assert Toolchain("docker", "/usr/bin/docker", "20.10.24").command_line(BUILD) == command


def test_buildx_command_line() -> None:
    """The plugin, with the builder that sees the engine's images."""
    start = ["docker", "buildx", "build", "--builder", "default", "--load", "--progress", "plain"]
    assert Toolchain("buildx", "docker", "0.24").command_line(BUILD) == [*start, *COMMON, *ARGUMENTS, *REST]


def test_podman_command_line() -> None:
    """Podman limits memory, wants its ignore file named, and knows no cache namespaces."""
    start = ["podman", "--remote", "build", "--format", "docker", "--ignorefile", "/job/Dockerfile.dockerignore"]
    command = [*start, "--memory", "1024", *COMMON, *ARGUMENTS[2:], *REST]
    assert Toolchain("podman", "podman", "4.3.1", "/run/p.sock").command_line(BUILD) == command


def test_shortest_command_line() -> None:
    """What is not asked for is not there."""
    build = BuildCommand(Path("/d"), Path("/c"), "n:t")
    command = Toolchain("podman", "podman", "4").command_line(build)
    assert command[:3] == ["podman", "build", "--format"]
    assert "--memory" not in command
    assert Toolchain("docker", "docker", "20").environment.get("DOCKER_HOST") is None
    assert Toolchain("docker", "docker", "20", "tcp://x:1").environment["DOCKER_HOST"] == "tcp://x:1"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["sh", "-c", "echo yes"], "yes\n"),
        (["sh", "-c", "echo no; exit 1"], None),
        (["/no/such/program"], None),
        (["sleep", "60"], None),
    ],
)
async def test_probe(monkeypatch: pytest.MonkeyPatch, command: list[str], answer: str | None) -> None:
    """A program that fails, is absent or does not answer counts as not there."""
    monkeypatch.setattr("binderlet.builder.toolchain.PROBE_TIMEOUT", 0.3)
    assert await run_probe(command) == answer


@pytest.mark.parametrize("kind", ["buildx", "docker"])
def test_a_result_that_is_no_image(kind: str) -> None:
    """A build can leave files instead of an image, and stay off the network."""
    tool = Toolchain(kind, "docker", "1")  # type: ignore[arg-type]  # both are kinds
    line = tool.command_line(BuildCommand(Path("f/D"), Path("c"), "", network="none", output=Path("/out")))
    start = line[line.index("plain") + 1 :]
    assert start == ["--file", "f/D", "--network", "none", "--output", "type=local,dest=/out", "c"]
    assert "--load" not in line


def test_stowaways() -> None:
    """What Podman's client leaves in a context is named, so that no image has it; the others leave nothing."""
    command = BuildCommand(Path("/srv/state/jobs/k/Dockerfile"), Path("/srv/state/checkouts/c"), "t")
    assert Toolchain("podman", "podman", "4").stowaways(command) == ("srv/state/jobs", "srv/state/checkouts")
    assert Toolchain("docker", "docker", "20").stowaways(command) == ()
    plain = BuildCommand(Path("/x/Dockerfile"), Path("/x"), "t", has_ignore_file=False)
    assert Toolchain("podman", "podman", "4").stowaways(plain) == ("x",)
    assert "--ignorefile" not in Toolchain("podman", "podman", "4").command_line(plain)


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"proxies": {"default": {"noProxy": "x"}}}', True), ("{}", False), ("[]", False), ("no JSON", False)],
)
def test_proxies_of_docker_itself(tmp_path: Path, text: str, *, expected: bool) -> None:
    """Proxies that Docker's own configuration gives to builds are left as they are: no marks among them."""
    (tmp_path / "config.json").write_text(text)
    assert configured_proxies({"DOCKER_CONFIG": str(tmp_path)}) is expected
    assert not configured_proxies({"DOCKER_CONFIG": str(tmp_path / "none")})


def test_marks() -> None:
    """Steps are marked by BuildKit alone, and only where nobody else says who needs no proxy."""
    assert Toolchain("docker", "x", "1").can_mark
    assert not Toolchain("docker", "x", "1", proxies=True).can_mark
    assert not Toolchain("podman", "x", "1").can_mark
