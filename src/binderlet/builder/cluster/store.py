"""Podman's way to the registry, in a builder pod: brings what builds start from, and pushes what they made."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from binderlet.clients.program import run_program
from binderlet.errors import EngineUnavailable, RegistryUnreachable, StorageFull, StorageRefused
from binderlet.events.buildlog import BuildLog
from binderlet.images.registry.oci import error_of
from binderlet.images.shelf import Shelf

log = structlog.get_logger(__name__)

ATTEMPTS = 3
FIRST_PAUSE = 2.0
"""Seconds before the second attempt; doubled for the third."""
LAST_WORDS = 600


class Store:
    """Podman's images and the registry; ``program`` is Podman.

    The registry's password is in a file for as long as a transfer takes, and no build runs in the pod then.
    """

    def __init__(self, shelf: Shelf, folder: Path, *, program: str = "podman", pause: float = FIRST_PAUSE) -> None:
        self._shelf = shelf
        self._folder = folder
        self._program = program
        self._pause = pause
        self._pushed = folder / "pushed.json"

    async def bring(self, name: str, label: str, value: str, tell: Callable[[str], None]) -> bool:
        """Pull an image that has the label from the registry: see ``builder/base.py``, ``Bring``."""
        reference = self._shelf.reference(name)
        tell(f"Looking for {reference}...")
        if await self._transfer("pull", "--quiet", f"docker://{reference}") is not None:
            return False
        code, said = await self._run("image", "inspect", "--format", f'{{{{index .Labels "{label}"}}}}', reference)
        if code or said.strip() != value:
            log.warning("the registry has another image under that name", image=reference, label=said.strip())
            return False
        await self._run("tag", reference, name)
        return True

    async def have(self, name: str) -> None:
        """Pull an image where it is not here; whoever needs it says so if that fails."""
        if (await self._run("image", "exists", name))[0]:
            there = self._shelf.reference(name) if name.startswith(f"{self._shelf.known_as}/") else name
            await self._transfer("pull", "--quiet", f"docker://{there}")
            await self._run("tag", there, name)

    async def push(self, name: str, build_log: BuildLog) -> None:
        """Push an image, in several attempts.

        Raises:
            StorageRefused, StorageFull, RegistryUnreachable: the registry says no, or nothing.
        """
        said = ""
        for attempt in range(1, ATTEMPTS + 1):
            problem = await self._transfer("push", "--quiet", name, f"docker://{self._shelf.reference(name)}")
            if problem is None:
                return
            said = problem
            error = error_of(said)
            if isinstance(error, StorageRefused | StorageFull):
                raise error
            if attempt < ATTEMPTS:
                build_log.write(f"Attempt {attempt} to push failed, trying again: {said}")
                await asyncio.sleep(self._pause * 2 ** (attempt - 1))
        raise RegistryUnreachable(
            f"The image was built but could not be pushed to {self._shelf.host}: {said}",
            hint="Do builder pods reach registry.url? Launching again tries once more.",
        )

    async def share(self, names: Sequence[str]) -> None:
        """Push what other builds start from, once each; where that fails another pod makes its own."""
        known = await asyncio.to_thread(_read, self._pushed)
        for name in names:
            _, image_id = await self._run("image", "inspect", "--format", "{{.Id}}", name)
            if known.get(name) == (image_id := image_id.strip()) or not image_id:
                continue
            problem = await self._transfer("push", "--quiet", name, f"docker://{self._shelf.reference(name)}")
            if problem is None:
                known[name] = image_id
                await asyncio.to_thread(self._pushed.write_text, json.dumps(known))
            else:
                log.warning("not shared with other builder pods", image=name, reason=problem)

    async def remove(self, *names: str) -> None:
        """Remove images; one that others build on keeps its layers."""
        await self._run("image", "rm", "--force", *names)

    async def environments(self) -> list[str]:
        """Give the environments' images, the oldest first."""
        columns = "{{.Repository}}:{{.Tag}}"
        _, said = await self._run(
            "images", "--sort", "created", "--format", columns, "--filter", "label=binderlet.environment"
        )
        names = [line for line in said.split() if "/binderlet/env:" in line]
        return list(reversed(names))

    async def _transfer(self, *arguments: str) -> str | None:
        """Pull or push; gives Podman's words where that failed."""
        logins = await asyncio.to_thread(self._write_logins)
        verb, *rest = arguments
        options = ("--authfile", str(logins), *(["--tls-verify=false"] if self._shelf.is_plain else []))
        try:
            code, said = await self._run(verb, *options, *rest)
        finally:
            await asyncio.to_thread(logins.unlink, missing_ok=True)
        return words(said) if code else None

    def _write_logins(self) -> Path:
        login = base64.b64encode(f"{self._shelf.username}:{self._shelf.password}".encode()).decode()
        logins = {self._shelf.host: {"auth": login}} if self._shelf.username else {}
        path = self._folder / "logins.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": logins}), encoding="utf-8")
        return path

    async def _run(self, *arguments: str) -> tuple[int, str]:
        try:
            return await run_program([self._program, *arguments], errors=True)
        except OSError as error:
            raise EngineUnavailable(f"Podman cannot be started: {error.strerror}.") from error


def words(said: str) -> str:
    """Give what Podman says went wrong, without its warnings."""
    lines = [
        line.removeprefix("Error: ") for line in said.splitlines() if line.strip() and not line.startswith("time=")
    ]
    return (lines[-1] if lines else said.strip())[-LAST_WORDS:]


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or one that was cut off: all is pushed again, which costs a look
        return {}
    return {str(name): str(image_id) for name, image_id in found.items()}
