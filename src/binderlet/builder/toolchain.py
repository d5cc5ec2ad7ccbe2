"""Chooses the build tool, once, and writes its command lines: BuildKit through buildx or an older CLI, or Podman."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from binderlet.clients.program import run_program
from binderlet.errors import MissingProgram

LAST_WITHOUT_BUILDX = 22
"""The last major version of Docker's CLI that speaks to BuildKit without the buildx plugin."""
USUAL_PLACE = "/usr/bin/docker"
"""Looked at even when a newer CLI comes first on PATH."""
DEPTH = 3
"""Parts of a path on this machine that a repository will not have, too."""
PROBE_TIMEOUT = 15.0
"""Seconds after which a program that does not say its version counts as broken."""
HINT = "Install Debian's 'docker.io', or Docker's 'docker-buildx-plugin', or 'podman' where the engine is Podman."

Run = Callable[[Sequence[str]], Awaitable[str | None]]
"""Runs a program and gives its output, or None where it fails."""


@dataclass(frozen=True, slots=True)
class BuildCommand:
    """One build, in no tool's words."""

    dockerfile: Path
    """An ignore file lies beside it, its name and ``.dockerignore``, unless ``has_ignore_file`` is false."""
    context: Path
    tag: str
    """Empty where the image needs no name, or none is to be made, but ``output``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Build arguments; those that Docker predefines, such as proxies, do not stay in the image."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    cache_namespace: str = ""
    """Keeps cache mounts apart from those of other namespaces."""
    memory: int = 0
    """Bytes that one step may use; only Podman can limit it."""
    network: str = ""
    """``none`` keeps all steps away from the network; empty for the tool's own choice."""
    has_ignore_file: bool = True
    """False leaves it to the context's own ignore file."""
    output: Path | None = None
    """A folder that gets the last stage's files, instead of an image."""
    target: str = ""
    """The stage to build; empty for the last one."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The chosen tool."""

    kind: Literal["buildx", "docker", "podman"]
    program: str
    version: str
    socket: str = ""
    """Path of the engine's socket, or its URL; empty for the tool's own choice."""
    proxies: bool = False
    """Whether Docker's own configuration gives builds proxies, which must not be mixed with others."""

    @property
    def can_mark(self) -> bool:
        """Whether a build's steps can have its mark, see ``steps.py``."""
        return self.kind != "podman" and not self.proxies

    @property
    def description(self) -> str:
        """Say in a few words which tool it is."""
        how = {"buildx": "BuildKit through docker buildx", "docker": "BuildKit", "podman": "podman build"}[self.kind]
        return f"{how} {self.version} ({self.program})"

    @property
    def has_cache_mounts(self) -> bool:
        """Whether cache mounts can be kept apart by namespace, without which sharing one is not safe."""
        return self.kind != "podman"

    @property
    def environment(self) -> dict[str, str]:
        """Give the variables that the tool needs beside those of this process."""
        found = {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain", "NO_COLOR": "1"}
        if self.socket:
            name = "CONTAINER_HOST" if self.kind == "podman" else "DOCKER_HOST"
            found[name] = f"unix://{self.socket}" if self.socket.startswith("/") else self.socket
        return found

    def command_line(self, build: BuildCommand) -> list[str]:
        """Give the program and its arguments."""
        command = [self.program, *self._verb(build)]
        command += ["--file", str(build.dockerfile), *(["--tag", build.tag] if build.tag else [])]
        command += ["--network", build.network] if build.network else []
        command += ["--target", build.target] if build.target else []
        command += ["--output", f"type=local,dest={build.output}"] if build.output else []
        arguments = dict(build.arguments)
        if build.cache_namespace and self.has_cache_mounts:
            arguments["BUILDKIT_CACHE_MOUNT_NS"] = build.cache_namespace
        for name, value in sorted(arguments.items()):
            command += ["--build-arg", f"{name}={value}"]
        for name, value in sorted(build.labels.items()):
            command += ["--label", f"{name}={value}"]
        for name, path in sorted(build.secrets.items()):
            command += ["--secret", f"id={name},src={path}"]
        return [*command, str(build.context)]

    def stowaways(self, build: BuildCommand) -> tuple[str, ...]:
        """Give patterns of what the tool puts into a build context beside what is there.

        Podman's client sends Dockerfile and secrets along, and leaves a copy of each under the path it has here: a
        ``COPY .`` would have them in the image. What stays are empty folders, as ``tmp`` and ``tmp/x`` of ``tmp/x/y``.
        """
        if self.kind != "podman":
            return ()
        paths = (build.dockerfile.parent.absolute(), build.context.absolute())
        return tuple(dict.fromkeys("/".join(path.parts[1 : 1 + DEPTH]) for path in paths))

    def _verb(self, build: BuildCommand) -> list[str]:
        if self.kind == "podman":
            remote = ["--remote"] if self.socket else []
            ignore = ["--ignorefile", f"{build.dockerfile}.dockerignore"] if build.has_ignore_file else []
            memory = ["--memory", str(build.memory)] if build.memory else []
            return [*remote, "build", "--format", "docker", *ignore, *memory]
        if self.kind == "buildx":
            # The default builder is the engine's own: others do not see the engine's images.
            load = [] if build.output else ["--load"]
            return ["buildx", "build", "--builder", "default", *load, "--progress", "plain"]
        return ["build", "--progress", "plain"]


async def choose_toolchain(
    *, socket: str = "", engine_is_podman: bool = False, path: str | None = None, run: Run | None = None
) -> Toolchain:
    """Find a tool that can build for the engine behind ``socket``; ``path`` replaces the environment's PATH.

    Raises:
        MissingProgram: there is none; the hint says what to install.
    """
    run = run or run_probe
    folders = (os.environ.get("PATH", os.defpath) if path is None else path).split(os.pathsep)
    proxies = await asyncio.to_thread(configured_proxies, os.environ)
    if engine_is_podman:
        return await _podman(await asyncio.to_thread(_find, "podman", folders, ""), socket, run)
    older: Toolchain | None = None
    programs = await asyncio.to_thread(_find, "docker", folders, USUAL_PLACE if path is None else "")
    for program in programs:
        if (answer := await run([program, "buildx", "version"])) is not None:
            return Toolchain("buildx", program, _version(answer), socket, proxies)
        version = _version(await run([program, "--version"]) or "")
        if older is None and version and int(version.split(".")[0]) <= LAST_WITHOUT_BUILDX:
            older = Toolchain("docker", program, version, socket, proxies)
    if older is not None:
        return older
    found = (
        f"{' and '.join(programs)} cannot use BuildKit: the buildx plugin is missing" if programs else "none is here"
    )
    raise MissingProgram(f"Building images needs Docker's command line tool with BuildKit; {found}.", hint=HINT)


def configured_proxies(environ: Mapping[str, str]) -> bool:
    """Whether the configuration of Docker's command line tool names proxies. Blocks on the disk."""
    folder = environ.get("DOCKER_CONFIG") or str(Path("~/.docker").expanduser())
    try:
        body = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
        return bool(body.get("proxies"))
    except (OSError, ValueError, AttributeError, RuntimeError):  # none, or none that can be read
        return False


async def _podman(programs: Sequence[str], socket: str, run: Run) -> Toolchain:
    for program in programs:
        if (answer := await run([program, "--version"])) is not None:
            return Toolchain("podman", program, _version(answer), socket)
    raise MissingProgram("The engine is Podman, and building for it needs the program 'podman'.", hint=HINT)


def _find(name: str, folders: Sequence[str], also: str) -> list[str]:
    """Give every program of that name, each file once."""
    paths = [os.path.join(folder, name) for folder in folders if folder] + ([also] if also else [])  # noqa: PTH118 - PATH's own form
    found: dict[str, str] = {}
    for path in paths:
        if os.access(path, os.X_OK) and Path(path).is_file():
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _version(answer: str) -> str:
    found = re.search(r"\d+\.\d+[0-9.]*", answer)
    return found[0].rstrip(".") if found else ""


async def run_probe(command: Sequence[str]) -> str | None:
    """Run a program and give its output; None where it fails or does not answer."""
    try:
        code, output = await run_program(command, seconds=PROBE_TIMEOUT)
    except OSError:  # not a program of this machine, or one that does not answer
        return None
    return None if code else output
