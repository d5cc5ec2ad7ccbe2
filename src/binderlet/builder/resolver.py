"""Asks uv, on this machine, which packages an environment would get, and how large they are.

It is given names and versions alone, and asks the service's own index: nothing of a repository's can lead it
elsewhere. A build step that cannot do with what it says resolves again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog
from uv import find_uv_bin

from binderlet.builder import resolution
from binderlet.builder.resolution import Resolution
from binderlet.clients.program import run_program
from binderlet.config.network import NetworkEnvironment

log = structlog.get_logger(__name__)

SECONDS = 5.0
"""After which who waits for a build waits no longer for this."""
PAUSE = 300.0
"""Seconds for which nothing is asked after that: the next build need not find out again."""
OUTPUT = "pylock.toml"


class Resolver:
    """Resolves in the folder ``folder``, which also keeps what the index said."""

    def __init__(self, folder: Path, network: NetworkEnvironment, platform: str, *, seconds: float = SECONDS) -> None:
        """``platform`` is what the packages are for, such as ``x86_64-manylinux_2_36``."""
        self._folder = folder.absolute()
        self._network = network
        self._platform = platform
        self._seconds = seconds
        self._not_before = 0.0

    async def resolve(
        self,
        asked: Iterable[object],
        python: str,
        *,
        prefer: Sequence[str] = (),
        settings: str = "",
        options: Sequence[str] = (),
    ) -> Resolution | None:
        """Give all packages that are needed; None where they cannot be told in time.

        Args:
            asked: requirements, each of which its ``str`` gives.
            python: such as ``3.11`` or ``3.11.2``.
            prefer: pins that are kept as long as they fit.
            settings: uv's own, as ``index.uv_configuration`` writes them.
            options: more of uv's options.
        """
        if time.monotonic() < self._not_before:
            return None
        before = resolution.preferences(prefer) if prefer else ""
        texts = {"asked.in": "".join(f"{each}\n" for each in asked), "uv.toml": settings, OUTPUT: before}
        folder = await asyncio.to_thread(_make, texts)
        try:
            return await self._compile(folder, python, options, has_settings=bool(settings))
        except TimeoutError:
            self._not_before = time.monotonic() + PAUSE
            log.info("packages cannot be resolved beforehand", seconds=self._seconds)
        except (OSError, ValueError) as error:
            log.warning("packages cannot be resolved beforehand", error=str(error))
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        return None

    async def _compile(
        self, folder: Path, python: str, options: Sequence[str], *, has_settings: bool
    ) -> Resolution | None:
        command = [await asyncio.to_thread(find_uv_bin), "pip", "compile", "--quiet", "--no-build"]
        command += ["--python", sys.executable, "--python-version", python, "--python-platform", self._platform]
        command += ["--cache-dir", str(self._folder), "--output-file", OUTPUT, *options]
        command += ["--config-file", "uv.toml"] if has_settings else ["--no-config"]
        environment = self._environment(has_settings=has_settings)
        code, said = await run_program(
            [*command, "asked.in"], seconds=self._seconds, environment=environment, folder=folder, errors=True
        )
        if code:
            log.info("packages cannot be resolved beforehand", code=code, said=said[-300:])
            return None
        return resolution.read(await asyncio.to_thread((folder / OUTPUT).read_text, encoding="utf-8"))

    def _environment(self, *, has_settings: bool) -> dict[str, str]:
        """Give the variables; those that name indexes would count for more than the settings."""
        bundle = str(self._network.ca_bundle) if self._network.ca_bundle else ""
        found = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._folder)}
        found |= self._network.variables(bundle)
        if has_settings:
            found = {name: value for name, value in found.items() if name not in {"UV_DEFAULT_INDEX", "UV_INDEX"}}
        return found


def _make(texts: Mapping[str, str]) -> Path:
    """Make a folder with these files, but for empty ones."""
    folder = Path(tempfile.mkdtemp(prefix="binderlet-resolve-"))
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    return folder
