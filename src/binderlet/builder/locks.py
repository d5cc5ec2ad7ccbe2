"""Where the locks of environments are kept while their images are built on: one small file each."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from binderlet.builder.lock import shorten
from binderlet.builder.render import LOCK
from binderlet.builder.toolchain import Toolchain
from binderlet.clients.program import run_program

TIMEOUT = 30.0
"""Seconds that an image may take to give a file."""


class Locks:
    """The locks of environments by key, in the short form that becomes a label."""

    def __init__(self, folder: Path, tools: Toolchain) -> None:
        self._folder = folder
        self._tools = tools

    async def keep(self, key: str, short: str) -> None:
        """Keep the lock of an environment that has just been built."""
        await asyncio.to_thread(self._write, key, short)

    async def find(self, key: str, image: str) -> str:
        """Give the lock of the environment ``image``; empty where it has none."""
        found = await asyncio.to_thread(self._read, key)
        if not found and (whole := await read_lock_file(self._tools, image)):
            found = shorten(whole)  # another control plane built it
            await self.keep(key, found)
        return found

    def _write(self, key: str, short: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{key}.json"
        path.with_suffix(".new").write_text(short, encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def _read(self, key: str) -> str:
        try:
            return (self._folder / f"{key}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""


async def read_lock_file(tools: Toolchain, image: str) -> str:
    """Give the whole lock out of an image; empty where it has none.

    A container of that image is started for it, without a network, and only ``cat`` runs in it.
    """
    remote = ["--remote"] if tools.kind == "podman" and tools.socket else []
    command = [tools.program, *remote, "run", "--rm", "--network", "none", "--entrypoint", "cat", image, LOCK]
    environment = {**os.environ, **tools.environment}
    code, output = await run_program(command, seconds=TIMEOUT, environment=environment)
    return "" if code else output
