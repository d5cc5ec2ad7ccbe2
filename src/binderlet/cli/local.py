"""What commands do on this machine by themselves, without a running service: explain, read locks, build from them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binderlet.app.machinery import make_providers
from binderlet.builder import lock
from binderlet.builder.base import BuildRequest
from binderlet.builder.base_recipe import other_pythons, own_python
from binderlet.builder.detect import detect
from binderlet.builder.explain import Explanation, explain
from binderlet.builder.lock import chosen_plan
from binderlet.builder.locks import read_lock_file
from binderlet.builder.plan import make_plan
from binderlet.builder.workbench import Workbench, open_workbench
from binderlet.cli.address import Address, parse_address
from binderlet.config.network import network_environment, read_text
from binderlet.config.schema import Settings
from binderlet.errors import BadSpec, ImageMissing, UnknownProvider
from binderlet.events.buildlog import BuildLog
from binderlet.images.names import image_name
from binderlet.model import Commit
from binderlet.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Source:
    """A repository as it was typed."""

    url: str
    ref: str = ""
    provider: str = ""


class Local:
    """Repositories and builds of one command; whoever runs it may use this machine's folders."""

    def __init__(self, settings: Settings) -> None:
        git = settings.providers.git
        allowed = git.model_copy(update={"allowed_protocols": [*git.allowed_protocols, "file"]})
        self._settings = settings.model_copy(
            update={"providers": settings.providers.model_copy(update={"git": allowed})}
        )
        self._state = settings.paths.state.absolute() / "local"
        self._network = network_environment(settings.network, os.environ, read_text)

    async def explain(self, source: Source) -> Explanation:
        """Explain how a repository, or the files of a folder as they are now, would be built."""
        folder = await asyncio.to_thread(_folder, source)
        if folder is not None:
            return await asyncio.to_thread(self._explain, folder)
        async with self.checkout(source) as (_, files):
            return await asyncio.to_thread(self._explain, files)

    def _explain(self, files: Path) -> Explanation:
        builder = self._settings.builder
        python = own_python(builder)
        found = detect(files)
        plan = chosen_plan(make_plan(found, python, other_pythons(builder)), None, "", builder.exclude_newer)
        base = builder.base_image or f"binderlet's, Debian {builder.base_suite} with Python {plan.python or python}"
        return explain(found, plan, base=base, platform=f"linux/{platform.machine()}")

    @asynccontextmanager
    async def checkout(self, source: Source) -> AsyncIterator[tuple[Commit, Path]]:
        """Fetch a repository into a folder that goes away again."""
        async with self._resolved(source) as (provider, commit):
            folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="binderlet-checkout-")
            try:
                files = Path(folder) / "files"
                await provider.fetch(commit, files, lambda _line: None)
                yield commit, files
            finally:
                await asyncio.to_thread(shutil.rmtree, folder)

    @asynccontextmanager
    async def _resolved(self, source: Source) -> AsyncIterator[tuple[Provider, Commit]]:
        address = await asyncio.to_thread(self._address, source)
        await asyncio.to_thread(self._state.mkdir, parents=True, exist_ok=True)
        providers = make_providers(self._settings, self._network, self._state)
        if address.spec.provider not in providers:
            raise UnknownProvider(f"No repo provider {address.spec.provider!r} is enabled.")
        try:
            provider = providers[address.spec.provider]
            yield provider, await provider.resolve(address.spec.spec)
        finally:
            for one in providers.values():
                await one.close()

    def _address(self, source: Source) -> Address:
        gh = self._settings.providers.gh
        return parse_address(
            source.url,
            ref=source.ref,
            provider=source.provider,
            github=gh.hostname if gh.enabled else "",
            file_allowed=True,
        )

    async def lock(self, source: Source) -> str:
        """Give the lock of the image that a repository's commit has here.

        Raises:
            ImageMissing: it has not been built here, or its image has no lock.
        """
        async with self._resolved(source) as (_, commit):
            name = image_name(self._settings.builder.image_prefix, commit.slug, commit.sha)
        async with open_workbench(self._settings, self._network, self._state) as bench:
            return await self._lock_of(bench, name)

    async def _lock_of(self, bench: Workbench, name: str) -> str:
        image = await bench.images.find(name)
        if image is None:
            raise ImageMissing(f"This machine has no image {name}.", hint="Build it first: binderlet build URL")
        found = await read_lock_file(bench.tools, name) or image.labels.get(lock.LABEL, "")
        if not found:
            raise ImageMissing(
                f"The image {name} has no lock: it was made by a Dockerfile, by repo2docker or by an older binderlet."
            )
        return found

    async def build_locked(self, source: Source, locked: str, say: Callable[[str], None]) -> str:
        """Build a repository with the packages of a lock, a file or a repository that has been built; gives the image.

        ``say`` takes each piece of the build's log.

        Raises:
            BinderletError: whatever keeps it from being built.
        """
        body = await self._read_lock(locked)
        async with self.checkout(source) as (commit, files):
            tag = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:8]
            name = image_name(self._settings.builder.image_prefix, commit.slug, f"{commit.sha}-locked-{tag}")
            build_log = BuildLog(files.parent / "log")
            async with (
                open_workbench(self._settings, self._network, self._state) as bench,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(_follow(build_log, say))
                try:
                    image = await bench.builder.build(BuildRequest(commit, files, name, body), build_log)
                finally:
                    build_log.finish()
            return image.name

    async def _read_lock(self, locked: str) -> Mapping[str, Any]:
        text = await asyncio.to_thread(_read_file, locked)
        if text is not None:
            return lock.read(text, locked)
        if locked.endswith(".json"):
            raise BadSpec(f"{locked} is no file.", hint=lock.HINT)
        return lock.read(await self.lock(Source(locked)), locked)


async def _follow(build_log: BuildLog, say: Callable[[str], None]) -> None:
    async for event in build_log.follow():
        say(event.message)


def _folder(source: Source) -> Path | None:
    """Give the folder whose files as they are now are meant; None for anything else."""
    folder = Path(source.url).expanduser()
    return folder if folder.is_dir() and not source.ref and not source.provider else None


def _read_file(path: str) -> str | None:
    """Give a file's text; None where there is none of that name."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, RuntimeError):  # a URL is no file's name, and ~user may be nobody's
        return None
