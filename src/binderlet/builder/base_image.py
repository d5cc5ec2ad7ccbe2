"""Makes the image that all environments build on: Debian, Python, Jupyter.

Two steps, each named by the content that decides it and kept: mmdebstrap brings the Debian packages together, which the
engine imports as one layer; a Dockerfile adds the rest. Both are jobs that outlive the control plane; the next follows.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from binderlet.builder import base_failure, base_recipe
from binderlet.builder.base import Bring
from binderlet.builder.base_recipe import NETWORK_SECRET, Recipe
from binderlet.builder.job import Job, JobSpec, Outcome
from binderlet.builder.render import exports
from binderlet.builder.toolchain import BuildCommand, Toolchain
from binderlet.builder.turns import Turns
from binderlet.clients.docker import DockerClient, engine_errors
from binderlet.config.network import NetworkEnvironment, read_text
from binderlet.config.schema import BuilderSettings
from binderlet.errors import (
    BinderletError,
    BuildFailed,
    BuildTimeout,
    ConfigError,
    EngineUnavailable,
    ImageMissing,
    MissingProgram,
    RegistryUnreachable,
)
from binderlet.events.buildlog import BuildLog

PYTHON_LABEL = "binderlet.python"
VERSION_LABEL = "binderlet.base"
IMAGE_LABEL = "binderlet.image"
"""What kind of image one is that is built on a base image."""
ASK_AGAIN = 600.0
"""Seconds until a Python that could not be downloaded is asked for again."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The image that environments build on."""

    name: str
    """``repository:tag``."""
    id: str
    """The engine's content id, ``sha256:...``."""
    python: str
    """Its Python, such as ``3.11``."""
    version: str
    """The key of its recipe; the image's id where the operator chose another image."""


@dataclass(frozen=True, slots=True)
class KeptBase:
    """A base image that is here, or the Debian part of one."""

    name: str
    """``repository:tag``; empty for one that has been replaced."""
    id: str
    made_at: float
    """Seconds since the epoch."""
    size: int
    """Bytes."""
    is_current: bool
    python: str = ""
    """Its Python; empty for the Debian part."""


class BaseImages:
    """Makes and finds the base images: one, and beside it one for each other Python that repositories ask for.

    All methods may be called concurrently.
    """

    def __init__(
        self,
        docker: DockerClient,
        settings: BuilderSettings,
        network: NetworkEnvironment,
        toolchain: Toolchain,
        folder: Path,
        *,
        repository: str = "binderlet/base",
        bring: Bring | None = None,
        socket: str = "",
        helper: str = "",
    ) -> None:
        self._bring = bring
        self._socket = socket
        self._helper = helper
        self._docker = docker
        self._settings = settings
        self._network = network
        self._toolchain = toolchain
        self._folder = folder
        self._repository = repository
        self._making = Turns("Waiting for the base image, which is being made:")
        self._ids: dict[str, str] = {}
        self._refused: dict[str, tuple[float, RegistryUnreachable]] = {}

    @property
    def others(self) -> tuple[str, ...]:
        """The Pythons that ``ensure`` makes a base image for beside the first."""
        return base_recipe.other_pythons(self._settings)

    def is_outdated(self, python: str, base_id: str) -> bool:
        """Whether there is another base image for a Python than that one now, as far as is known; from memory."""
        return self._ids.get(python, base_id) != base_id

    async def ensure(self, log: BuildLog, python: str = "") -> BaseImage:
        """Give the base image, made first where it is absent. Idempotent; callers at the same time share one making.

        ``python`` is one of ``others``, or empty for the first base image. A Python that could not be downloaded is
        not asked for again for some minutes.

        Raises:
            RegistryUnreachable: a mirror or index does not answer; the message names it, the hint the setting.
            BuildTimeout: ``builder.timeout`` passed.
            BuildFailed: making it failed; the log has the words of the step.
            MissingProgram: mmdebstrap is not installed.
            ConfigError: ``builder.base_image`` is not here or has another layout, or the suite is unknown.
            EngineUnavailable: the engine does not answer.
        """
        if self._settings.base_image:
            return await self._chosen(self._settings.base_image)
        made = await asyncio.to_thread(self._recipe, python)
        name = f"{self._repository}:{made.base_key}"
        if found := await self._find(name):
            return found
        async with self._making.take(log):
            found = await self._find(name)
            if found is None and self._bring and await self._bring(name, VERSION_LABEL, made.base_key, log.write):
                found = await self._find(name)
            return found or await self._make_unless_refused(made, name, log)

    async def _make_unless_refused(self, made: Recipe, name: str, log: BuildLog) -> BaseImage:
        at, error = self._refused.get(made.python, (-math.inf, None))
        if error is not None and time.monotonic() - at < ASK_AGAIN:
            raise error
        try:
            return await self._make(made, name, log)
        except RegistryUnreachable as error:
            if not made.is_debians:
                self._refused[made.python] = (time.monotonic(), error)
            raise

    async def renew(self, log: BuildLog, python: str = "") -> BaseImage:
        """Make the base images that are here anew, with Debian's packages of today, and give the first.

        With ``python`` only that one is made, on the Debian packages that are here. The old ones are used until the
        new ones are ready, each switched at once. Environments on an old one keep working; their layers go when the
        last of them is removed.

        Raises:
            BinderletError: as ``ensure``; the old base image stays.
        """
        if self._settings.base_image:
            return await self._chosen(self._settings.base_image)
        made = await asyncio.to_thread(self._recipe, python)
        here = {base.python for base in await self.kept() if base.is_current}
        async with self._making.take(log):
            first = await self._make(made, f"{self._repository}:{made.base_key}", log, anew=not python)
            for other in () if python else [each for each in self.others if each in here]:
                recipe = await asyncio.to_thread(self._recipe, other)
                await self._make(recipe, f"{self._repository}:{recipe.base_key}", log)
        return first

    async def kept(self) -> list[KeptBase]:
        """Give the base images that are here, the one in use first, then by age.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        made = [await asyncio.to_thread(self._recipe, python) for python in ("", *self.others)]
        current = {f"{self._repository}:{each.base_key}" for each in made}
        current.add(f"{self._repository}-system:{made[0].system_key}")
        with engine_errors():
            found = await self._docker.call("GET", "images/json")
        kept = [base for each in found if (base := _kept(each, self._repository, current)) is not None]
        self._ids |= {base.python: base.id for base in kept if base.is_current and base.python}
        return sorted(kept, key=lambda base: (not base.is_current, -base.made_at))

    async def prune(self, python: str = "") -> list[KeptBase]:
        """Remove the base images that are not in use; what environments share with them stays. Gives the removed.

        The one for ``python`` goes, too; it is made again when a repository asks for it.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        goes = [base for base in await self.kept() if not base.is_current or (python and base.python == python)]
        return [base for base in goes if await self._remove(base)]

    async def debian(self, packages: tuple[str, ...], repository: str, log: BuildLog) -> str:
        """Name an image of Debian with these packages alone, made where it is absent; raises as ``ensure``."""
        made = replace(await asyncio.to_thread(self._recipe), packages=packages)
        name = f"{repository}:{made.system_key}"
        if await self._inspect(name) is None:
            await self._bootstrap(made, name, log)
        return name

    async def _remove(self, base: KeptBase) -> bool:
        try:
            with engine_errors():
                await self._docker.call("DELETE", f"images/{quote(base.name or base.id)}")
        except EngineUnavailable:
            raise
        except BinderletError:  # a container is made from it
            return False
        return True

    async def _chosen(self, name: str) -> BaseImage:
        """Give the image that the operator chose, which must say its Python."""
        found = await self._inspect(name)
        if found is None:
            raise ConfigError(f"builder.base_image: the engine has no image {name}.", hint=f"Try 'docker pull {name}'.")
        image_id, labels = found
        if PYTHON_LABEL not in labels:
            raise ConfigError(f"builder.base_image: {name} has no label {PYTHON_LABEL} with a value such as 3.11.")
        return BaseImage(name, image_id, labels[PYTHON_LABEL], labels.get(VERSION_LABEL, image_id))

    async def _find(self, name: str) -> BaseImage | None:
        found = await self._inspect(name)
        if found is None:
            return None
        image_id, labels = found
        self._ids[labels[PYTHON_LABEL]] = image_id
        return BaseImage(name, image_id, labels[PYTHON_LABEL], labels[VERSION_LABEL])

    async def _inspect(self, name: str) -> tuple[str, Mapping[str, str]] | None:
        """Give an image's id and labels, or None where there is no such image."""
        try:
            with engine_errors():
                found = await self._docker.call("GET", f"images/{name}/json")
        except ImageMissing:
            return None
        return str(found["Id"]), found["Config"].get("Labels") or {}

    def _recipe(self, python: str = "") -> Recipe:
        """Write down what to make; reads the certificates that were added to this machine."""
        certificates: list[str] = []
        if self._network.ca_bundle is not None:
            known = [read_text(path) or "" for path in Path(base_recipe.DISTRIBUTION_CERTIFICATES).rglob("*.crt")]
            certificates = base_recipe.extra_certificates(read_text(self._network.ca_bundle) or "", known)
        return base_recipe.recipe(
            self._settings,
            self._network,
            certificates=certificates,
            platform=platform.machine(),
            python="" if python == base_recipe.own_python(self._settings) else python,
        )

    async def _make(self, made: Recipe, name: str, log: BuildLog, *, anew: bool = False) -> BaseImage:
        started = time.monotonic()
        what = "base image" if made.is_debians else f"base image for Python {made.python}"
        log.write(f"Making the {what}, which is done once and takes about a minute.")
        if not made.is_locked:
            log.write("builder.jupyterlab or builder.notebook is not the default: other versions are resolved now.")
        system = f"{self._repository}-system:{made.system_key}"
        if anew or await self._inspect(system) is None:
            await self._bootstrap(made, system, log)
        await self._build(made, system, name, log)
        found = await self._find(name)
        if found is None:
            raise BuildFailed(f"The base image {name} was made, but the engine does not have it.")
        log.write(f"The {what} {name} is ready after {time.monotonic() - started:.0f} s.")
        return found

    async def _bootstrap(self, made: Recipe, system: str, log: BuildLog) -> None:
        """Bring the Debian packages together and import them; nothing is written to the disk in between."""
        if await asyncio.to_thread(shutil.which, "mmdebstrap") is None:
            raise MissingProgram(
                "Making the base image needs the program 'mmdebstrap', which is not installed.",
                hint="Try 'apt-get install mmdebstrap debian-archive-keyring', or set builder.base_image.",
            )
        lines = await asyncio.to_thread(_sources, self._settings)
        mirrors = ", ".join(dict.fromkeys(line.split()[1] for line in lines)) or base_recipe.DEBIAN_MIRROR
        log.write(f"Debian {made.suite} from {mirrors}")
        gather = await asyncio.to_thread(base_recipe.gather_command, made, lines, self._helper)
        # The engine also imports the first half of an archive: such an image must not get the name.
        unchecked = f"{system}-unchecked"
        script = (
            f"set -eo pipefail; trap '{self._engine('rmi', unchecked)} >/dev/null 2>&1' EXIT; "
            f"{shlex.join(gather)} | {self._engine('import', '-', unchecked)}; "
            f"{self._engine('tag', unchecked, system)}"
        )
        environment = {**self._network.clone_environment(), **self._toolchain.environment}
        outcome = await self._run(made.system_key, ["bash", "-c", script], environment, log, "raw")
        if outcome.code:
            what = "Debian's packages could not be brought together"
            raise base_failure.failure(what, outcome, "builder.base_mirror", default=mirrors)

    async def _build(self, made: Recipe, system: str, name: str, log: BuildLog) -> None:
        log.write(f"Python {made.python} and Jupyter")
        folder = self._folder / f"{made.base_key}-files"
        bundle = base_recipe.SYSTEM_BUNDLE if made.has_certificates else ""
        secret = exports(self._network.variables(bundle) | base_recipe.python_variables(self._settings, os.environ))
        command = BuildCommand(
            dockerfile=folder / "context" / "Dockerfile",
            context=folder / "context",
            tag=name,
            labels={PYTHON_LABEL: made.python, VERSION_LABEL: made.base_key},
            arguments=made.build_arguments(system),
            secrets={NETWORK_SECRET: folder / "network"},
            memory=self._settings.memory,
            has_ignore_file=False,
        )
        try:
            outcome = await self._run(
                made.base_key,
                self._toolchain.command_line(command),
                self._toolchain.environment,
                log,
                "output",
                prepare=lambda: _write_files(folder, made.context, secret),
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if outcome.code and f"Python {made.python} could not be installed." in outcome.tail:
            raise base_failure.no_python(made.python, outcome.tail)
        if outcome.code:
            index = urlsplit(self._network.index_url).hostname or "the package index"
            raise base_failure.failure("Jupyter could not be installed", outcome, "network.index_url", default=index)

    async def _run(
        self,
        key: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: BuildLog,
        progress: str,
        *,
        prepare: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Run a job to its end, or follow the one of that key that an earlier control plane started."""
        job = Job(self._folder / key, self._socket)
        spec = JobSpec(command, environment, log.path, log.limit, self._settings.timeout, progress)
        is_running = await asyncio.to_thread(job.is_running)
        await log.flush()  # what we said comes before what the programs say
        try:
            if not is_running:
                await asyncio.to_thread(prepare)
                await job.start(spec)
            outcome = await job.wait(relay=log.path if is_running else None)
        except asyncio.CancelledError:
            await job.end()
            raise
        await asyncio.to_thread(job.clear)
        if outcome.reason == "timeout":
            raise BuildTimeout(f"Making the base image took longer than {self._settings.timeout:.0f} s.")
        return outcome

    def _engine(self, *arguments: str) -> str:
        """Give a command line of the engine, for a shell."""
        remote = ["--remote"] if self._toolchain.kind == "podman" and self._toolchain.socket else []
        return shlex.join([self._toolchain.program, *remote, *arguments])


def _kept(image: Mapping[str, Any], repository: str, current: Collection[str]) -> KeptBase | None:
    """Read one entry of the engine's list; None for what is no base image."""
    labels = image.get("Labels") or {}
    names = [name for name in image.get("RepoTags") or () if name != "<none>:<none>"]
    name = next((name for name in names if name.startswith((f"{repository}:", f"{repository}-system:"))), "")
    # Environments have their base's labels, too, and one of their own.
    is_replaced = not names and {PYTHON_LABEL, VERSION_LABEL} <= labels.keys() and IMAGE_LABEL not in labels
    if not name and not is_replaced:
        return None
    python = "" if name.startswith(f"{repository}-system:") else labels.get(PYTHON_LABEL, "")
    return KeptBase(name, str(image["Id"]), float(image["Created"]), int(image["Size"]), name in current, python)


def _sources(settings: BuilderSettings) -> list[str]:
    paths = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [text for path in paths if (text := read_text(path)) is not None]
    return base_recipe.sources(settings, base_recipe.host_sources(settings.base_suite, texts))


def _write_files(folder: Path, context: Mapping[str, str], secret: str) -> None:
    """Write the build context and, beside it, the secret."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "context" / "certificates").mkdir(parents=True)
    for name, text in context.items():
        path = folder / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "network").touch(mode=0o600)
    (folder / "network").write_text(secret, encoding="utf-8")
