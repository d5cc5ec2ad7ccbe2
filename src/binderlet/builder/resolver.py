"""Asks uv, on this machine, which packages an environment would get, and how large they are.

It is given names and versions alone, and asks the service's own index: nothing of a repository's can lead it
elsewhere. What it says is a hint for the layout of layers; the installation itself resolves again and decides.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog
from uv import find_uv_bin

from binderlet.builder.requirements import pins_in
from binderlet.clients.program import run_program
from binderlet.config.network import NetworkEnvironment

log = structlog.get_logger(__name__)

SECONDS = 5.0
"""After which who waits for a build waits no longer for this."""
PLATFORM = f"{platform.machine()}-unknown-linux-gnu"


class Resolver:
    """Resolves in the folder ``folder``, which also keeps what the index said."""

    def __init__(self, folder: Path, network: NetworkEnvironment, *, seconds: float = SECONDS) -> None:
        self._folder = folder.absolute()
        self._network = network
        self._seconds = seconds

    async def resolve(
        self, asked: Iterable[object], python: str, *, prefer: str = "", settings: str = "", options: Sequence[str] = ()
    ) -> frozenset[str] | None:
        """Give all packages that are needed, as ``name==version``; None where they cannot be told in time.

        Args:
            asked: requirements, each of which its ``str`` gives.
            python: such as ``3.11``.
            prefer: lines of pins that are kept as long as they fit.
            settings: uv's own, as ``index.uv_configuration`` writes them.
            options: more of uv's options.
        """
        more = ["--no-annotate", "--no-header", *options]
        text = await self._compile(asked, python, settings, "requirements.txt", more, before=prefer)
        return None if text is None else frozenset(pins_in(text))

    async def sizes(self, pins: Iterable[str], python: str, *, settings: str = "") -> Mapping[str, int] | None:
        """Give the bytes of the wheels of packages, 0 where the index does not tell. None as ``resolve``."""
        text = await self._compile(pins, python, settings, "pylock.toml", ["--no-deps"])
        if text is None:
            return None
        return {
            f"{package['name']}=={package['version']}": max(
                (wheel.get("size", 0) for wheel in package.get("wheels", ())), default=0
            )
            for package in tomllib.loads(text).get("packages", ())
        }

    async def _compile(
        self,
        asked: Iterable[object],
        python: str,
        settings: str,
        output: str,
        options: Sequence[str],
        *,
        before: str = "",
    ) -> str | None:
        """Run uv's ``pip compile``; ``before`` is what the file ``output`` holds until then, which uv keeps to."""
        texts = {"asked.in": "".join(f"{each}\n" for each in asked), "uv.toml": settings, output: before}
        folder = await asyncio.to_thread(_make, texts)
        try:
            command = [
                await asyncio.to_thread(find_uv_bin),
                "pip",
                "compile",
                "--quiet",
                "--no-build",
                "--python",
                sys.executable,
            ]
            command += ["--python-version", python, "--python-platform", PLATFORM]
            command += ["--cache-dir", str(self._folder), "--output-file", output, *options]
            command += ["--config-file", "uv.toml"] if settings else ["--no-config"]
            environment = self._environment(has_settings=bool(settings))
            code, said = await run_program(
                [*command, "asked.in"], seconds=self._seconds, environment=environment, folder=folder, errors=True
            )
            if code:
                log.info("packages cannot be resolved beforehand", code=code, said=said[-300:])
                return None
            return await asyncio.to_thread((folder / output).read_text, encoding="utf-8")
        except TimeoutError:
            log.info("packages cannot be resolved beforehand", seconds=self._seconds)
            return None
        except OSError as error:
            log.warning("packages cannot be resolved beforehand", error=str(error))
            return None
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

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
