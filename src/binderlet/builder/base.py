"""The port to what builds images, and what such a builder needs of others.

``tests/builder/test_contract.py`` runs against each implementation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from binderlet.events.buildlog import BuildLog
from binderlet.model import Commit, Image

Bring = Callable[[str, str, str, Callable[[str], None]], Awaitable[bool]]
"""Brings an image that builds start from: its name, a label and the value it must have, and who is told in lines.

False where it has to be made here; raises ``EngineUnavailable`` alone.
"""

Label = Callable[[str, str, Mapping[str, str]], Awaitable[Image]]
"""Gives an image, known by its id, a name and more labels; raises ``BinderletError``."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One image to build."""

    commit: Commit
    checkout: Path
    """The repository's files, complete, owned by us; the builder may not change them."""
    image: str
    """``repository:tag`` that the result gets."""
    lock: Mapping[str, Any] | None = None
    """Packages to install instead of what the repository's files ask for; ``builder/lock.py`` reads it."""
    refresh: bool = False
    """Build it although there is an image of that name, which stays until the new one takes its name."""


class Builder(Protocol):
    """Builds images into the engine's own store."""

    @property
    def info(self) -> dict[str, str]:
        """What ``/versions`` reports as ``builder_info``: tool, version, base image."""

    def is_outdated(self, image: Image) -> bool:
        """Whether building an image again would give another one, because its base image is new; from memory."""

    async def prepare(self, log: BuildLog) -> None:
        """Make what every build needs, such as the base image, where it is absent. Idempotent.

        Raises:
            RegistryUnreachable: something it needs cannot be downloaded; the message says what from where.
            BuildFailed: making it failed.
            MissingProgram: the build tool is not installed.
        """

    async def build(self, request: BuildRequest, log: BuildLog) -> Image:
        """Build the image, writing each line to ``log`` as it comes.

        Idempotent by ``request.image``, unless ``request.refresh``: if a build of it, started before this process,
        still runs on this machine, this follows it from its first line instead of starting another. Cancelling ends
        the build.

        Raises:
            BadRepository: a file in the checkout is wrong; the message names it.
            BuildTimeout: the deadline passed; what ran has been ended.
            RegistryUnreachable: an index or mirror does not answer.
            BuildFailed: a step failed.
            EngineUnavailable: the engine does not answer.
        """

    async def close(self) -> None:
        """Give back connections; builds that still run go on by themselves. Idempotent."""


class BaseImage(Protocol):
    """The image that environments are built on."""

    @property
    def name(self) -> str:
        """Its name, ``repository:tag``."""

    @property
    def id(self) -> str:
        """The engine's content id."""

    @property
    def python(self) -> str:
        """Such as ``3.11``."""


class BaseImages(Protocol):
    """Makes the base images."""

    @property
    def others(self) -> tuple[str, ...]:
        """The Pythons that there can be a base image for beside the first."""

    async def ensure(self, log: BuildLog, python: str = "") -> BaseImage:
        """Give the base image for a Python, or the first one, made where it is absent.

        Raises:
            RegistryUnreachable: something it needs cannot be downloaded.
            BuildFailed: making it failed.
        """

    def is_outdated(self, python: str, base_id: str) -> bool:
        """Whether there is another base image for a Python than that one now; from memory."""


class Images(Protocol):
    """What a builder needs of the image store; ``images/base.py`` says what its methods promise."""

    async def find(self, name: str) -> Image | None:
        """Give the image of that name, or None.

        Raises:
            EngineUnavailable: the store could not be asked.
        """

    async def refresh(self) -> None:
        """Read the store anew.

        Raises:
            EngineUnavailable: it does not answer.
        """
