"""``build_content``: adding a repository of 50 MB to an environment that is there.

Reference: ``docker build`` of a Dockerfile with nothing but ``COPY``, by the same tool, of the same files.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
from pathlib import Path
from uuid import uuid4

from benchmarks._builds import Bench, bench, write
from benchmarks._figure import Figure, measure, say, summary

RUNS = 5
FILES = 500
SIZE = 100 * 1024


def files() -> dict[str, str | bytes]:
    """Give 50 MB that no build tool has seen before."""
    return {f"data/{number}.bin": os.urandom(SIZE) for number in range(FILES)}


def copy(made: Bench, folder: Path) -> float:
    """Build the plainest image with these files."""
    image = f"binderlet-bench/copy-{uuid4().hex[:12]}:1"
    made.images.append(image)
    dockerfile = made.folder / f"Dockerfile-{uuid4().hex[:8]}"
    dockerfile.write_text(f"FROM {made.base.name}\nCOPY --chown=1000:1000 . /home/jovyan/\n")
    verb = ["buildx", "build", "--load"] if made.tools.kind == "buildx" else ["build"]
    command = [made.tools.program, *verb, "--file", str(dockerfile), "--tag", image, str(folder)]
    environment = os.environ | made.tools.environment
    return measure(lambda: subprocess.run(command, check=True, capture_output=True, env=environment))


async def main() -> None:
    """Measure and print."""
    ours: list[float] = []
    plain: list[float] = []
    async with bench() as made, made.builder(bytecode=False) as builder:
        await made.build(builder, {"README.md": "the environment is there from now on"})
        for number in range(RUNS):
            folder = made.folder / f"files-{uuid4().hex[:8]}"
            await asyncio.to_thread(write, folder, files())
            ours.append((await made.build_checkout(builder, folder)).seconds)
            other = made.folder / f"files-{uuid4().hex[:8]}"
            await asyncio.to_thread(write, other, files())
            plain.append(await asyncio.to_thread(copy, made, other))
            say(f"{number + 1}/{RUNS}: ours {ours[-1]:.2f} s, COPY {plain[-1]:.2f} s")
    detail = {"ours": summary(ours), "copy": summary(plain), "megabytes": FILES * SIZE // 1024**2}
    Figure("build_content", statistics.median(ours), statistics.median(plain), "s", RUNS, detail).print()


if __name__ == "__main__":
    asyncio.run(main())
