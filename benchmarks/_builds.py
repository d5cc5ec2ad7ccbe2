"""Builds on the real base image, in package caches of their own, and plain ``pip`` on the same base beside them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from binderlet.builder import render
from binderlet.builder.base import BuildRequest
from binderlet.builder.base_image import BaseImage, BaseImages
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.namespaces import Namespaces
from binderlet.builder.stacks import IMAGE_PREFIX
from binderlet.builder.toolchain import BuildCommand, Toolchain, choose_toolchain
from binderlet.clients.docker import open_docker
from binderlet.config.schema import BuilderSettings, EngineSettings
from binderlet.events.buildlog import BuildLog
from binderlet.images.local import LocalImages
from support.tiny_base import docker
from support.values import COMMIT
from support.workshop import NETWORK

THREE = "numpy\npandas\nmatplotlib\n"
HEAVY = "tensorflow-cpu\npyarrow\nscikit-learn\nopencv-python-headless\npolars\n"
STEPS = {
    "solve": re.compile(r"^(?:.*\")?Resolved .* in (?:(\d+)m )?([\d.]+)(ms|s)", re.MULTILINE),
    "download": re.compile(r"^Prepared .* in (?:(\d+)m )?([\d.]+)(ms|s)", re.MULTILINE),
    "install": re.compile(r"^Installed .* in (?:(\d+)m )?([\d.]+)(ms|s)", re.MULTILINE),
    "export": re.compile(r"^Written in (?:(\d+)m )?([\d.]+) (s)", re.MULTILINE),
}
PIP = """FROM {base}
COPY --chown=1000:1000 requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt
COPY --chown=1000:1000 . /home/jovyan/
"""


@dataclass
class Built:
    """One build."""

    image: str
    seconds: float
    parts: dict[str, float]
    """Where the time went, as the log tells it; ``rest`` is what is left: starting tools and steps, the lock."""


@dataclass
class Bench:
    """Builds, and removes what it built."""

    tools: Toolchain
    base: BaseImage
    bases: BaseImages
    store: LocalImages
    folder: Path
    images: list[str] = field(default_factory=list)
    stacks_before: frozenset[str] = frozenset()
    """Shared layers of somebody else's."""

    @asynccontextmanager
    async def builder(self, *, bytecode: bool = True, shared: bool = True) -> AsyncIterator[BuildKitBuilder]:
        """Give a builder whose package cache is empty; only with ``shared`` its environments share layers."""
        settings = BuilderSettings(bytecode=bytecode, shared_layers=shared)
        state = self.folder / f"state-{uuid4().hex[:8]}"
        made = BuildKitBuilder(
            settings,
            NETWORK,
            toolchain=self.tools,
            base=self.bases,
            images=self.store,
            state=state,
            label=self.store.label,
        )
        try:
            await made.prepare(BuildLog(state / "prepared"))  # as the service does at its start
            yield made
        finally:
            await made.close()
            await asyncio.to_thread(self._empty_cache, state)

    def _empty_cache(self, state: Path) -> None:
        """Give back the disk of a builder's package cache, which nobody will use again."""
        namespaces = Namespaces(state / "cache-namespace")
        namespaces.load()
        folder = state / "empty"
        mount = f"--mount=type=cache,id={render.shared_cache(self.base.python)},target={render.CACHE},uid=1000,gid=1000"
        script = f"RUN {mount} rm -rf {render.CACHE}/* # {uuid4().hex}"
        write(folder, {"Dockerfile": f"FROM {self.base.name}\n{script}\n"})
        image = f"binderlet-bench/empty-{uuid4().hex[:12]}:1"
        self.images.append(image)
        command = self.tools.command_line(
            BuildCommand(folder / "Dockerfile", folder, image, cache_namespace=namespaces.shared, network="none")
        )
        subprocess.run(command, check=False, capture_output=True, env=os.environ | self.tools.environment)

    async def build(self, builder: BuildKitBuilder, files: Mapping[str, str | bytes]) -> Built:
        """Build a repository of these files, such as ``fresh`` gives."""
        checkout = self.folder / f"checkout-{uuid4().hex[:8]}"
        write(checkout, files)
        return await self.build_checkout(builder, checkout)

    async def build_checkout(self, builder: BuildKitBuilder, checkout: Path) -> Built:
        """Build a folder."""
        image = f"binderlet-bench/i-{uuid4().hex[:12]}:{COMMIT.sha}"
        self.images.append(image)
        log = BuildLog(self.folder / f"log-{uuid4().hex[:8]}")
        await asyncio.to_thread(os.sync)  # what was built before is not this build's to wait for
        started = time.perf_counter()
        await builder.build(BuildRequest(replace(COMMIT), checkout, image), log)
        seconds = time.perf_counter() - started
        await builder.together.all_named()
        await log.flush()
        text = log.path.read_text(errors="replace")
        parts = {name: seconds_of(pattern, text) for name, pattern in STEPS.items()}
        parts["rest"] = seconds - sum(parts.values())
        environment = docker(
            self.tools.program, "inspect", "-f", '{{index .Config.Labels "binderlet.environment"}}', image
        )
        self.images.append(f"binderlet/env:{environment.strip()}")
        return Built(image, seconds, {name: round(value, 3) for name, value in parts.items()})

    def pip(self, requirements: str) -> Built:
        """Build the same with the Dockerfile that people write, without any layer from before."""
        folder = self.folder / f"pip-{uuid4().hex[:8]}"
        write(folder, {"requirements.txt": requirements, "Dockerfile": PIP.format(base=self.base.name)})
        image = f"binderlet-bench/pip-{uuid4().hex[:12]}:1"
        self.images.append(image)
        command = [self.tools.program, "build", "--no-cache", "--progress", "plain", "--tag", image, str(folder)]
        if self.tools.kind == "buildx":
            command[1:2] = ["buildx", "build", "--load"]
        os.sync()
        started = time.perf_counter()
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=os.environ | self.tools.environment
        )
        seconds = time.perf_counter() - started
        exported = seconds_of(re.compile(r"exporting layers (?:(\d+)m )?([\d.]+)(s) done"), done.stderr + done.stdout)
        return Built(image, seconds, {"install": round(seconds - exported, 3), "export": round(exported, 3)})

    def size(self, image: str) -> int:
        """Give the bytes of an image beyond its base."""
        sizes = docker(self.tools.program, "inspect", "-f", "{{.Size}}", image, self.base.name).split()
        return int(sizes[0]) - int(sizes[1])

    def clean(self) -> None:
        """Remove the images."""
        self.images += sorted(stack_images(self.tools) - self.stacks_before)
        docker(self.tools.program, "image", "rm", "--force", *dict.fromkeys(self.images), check=False)


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Give a bench on the real base image, which is made where it is absent."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="bb-"))
    client = await open_docker(EngineSettings())
    made: Bench | None = None
    try:
        tools = await choose_toolchain(socket=client.socket, engine_is_podman=client.is_podman)
        bases = BaseImages(client, BuilderSettings(), NETWORK, tools, folder / "base")
        base = await bases.ensure(BuildLog(folder / "base-log"))
        before = frozenset(await asyncio.to_thread(stack_images, tools))
        made = Bench(tools, base, bases, LocalImages(client), folder, stacks_before=before)
        yield made
    finally:
        if made is not None:
            made.clean()
        await client.close()
        shutil.rmtree(folder, ignore_errors=True)


def stack_images(tools: Toolchain) -> set[str]:
    """Give the names of the images that hold the layers which environments share."""
    return {
        name
        for name in docker(tools.program, "images", "--format", "{{.Repository}}:{{.Tag}}").split()
        if name.startswith(IMAGE_PREFIX)
    }


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files into a new folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def seconds_of(pattern: re.Pattern[str], text: str) -> float:
    """Give the sum of the times that a log tells."""
    found = pattern.findall(text)
    return sum(60 * int(minutes or 0) + float(value) / (1000 if unit == "ms" else 1) for minutes, value, unit in found)


def fresh(requirements: str) -> dict[str, str | bytes]:
    """Give a repository with these requirements that nobody has built before: one more is for no Python at all."""
    nothing = f"none-{uuid4().hex}; python_version < '3'"
    return {"requirements.txt": f"{requirements}{nothing}\n", "index.ipynb": "{}"}
