"""Which way of building a repository's files ask for (pure): repo2docker's build packs, the first that fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from binderlet.builder.detect import Detected
from binderlet.builder.runtime import Runtime, parse_runtime
from binderlet.builder.text import decode

LEGACY_BASE = re.compile(r"^FROM[^#\n]*andrewosh/binder-base", re.IGNORECASE | re.MULTILINE)


class Pack(StrEnum):
    """repo2docker's build packs."""

    LEGACY = "legacy"
    """A Dockerfile on the base of the first Binder, which nobody builds any more."""
    DOCKERFILE = "dockerfile"
    JULIA = "julia"
    JULIA_REQUIRE = "julia-require"
    """Julia's package files before 1.0, which nobody builds any more."""
    NIX = "nix"
    R = "r"
    CONDA = "conda"
    PIPFILE = "pipfile"
    PYTHON = "python"
    DEFAULT = "default"
    """Nothing asks for anything: as ``PYTHON``."""


def choose(found: Detected) -> Pack:
    """Give the pack that builds a repository.

    Raises:
        BadRepository: ``runtime.txt`` is wrong, and nothing that comes before it claims the repository.
    """
    return next((pack for pack, claims in CLAIMS if claims(found)), Pack.DEFAULT)


def runtime_of(found: Detected) -> Runtime:
    """Give what ``runtime.txt`` says.

    Raises:
        BadRepository: it is wrong.
    """
    path = found.path("runtime.txt")
    return parse_runtime(decode(found.content("runtime.txt"), path)[0], path) if path else Runtime()


def _has(*names: str) -> Callable[[Detected], bool]:
    return lambda found: any(found.path(name) for name in names)


def _legacy(found: Detected) -> bool:
    """Only the Dockerfile in the root counts, even where there is a folder for configuration."""
    return LEGACY_BASE.search((found.files or {}).get("Dockerfile", b"").decode("latin-1")) is not None


def _r(found: Detected) -> bool:
    runtime = runtime_of(found)
    return (runtime.name == "r" and bool(runtime.day)) or bool(found.path("DESCRIPTION"))


def _pipfile(found: Detected) -> bool:
    return runtime_of(found).name in {"", "python"} and _has("Pipfile", "Pipfile.lock")(found)


def _python(found: Detected) -> bool:
    runtime = runtime_of(found)
    return runtime.name == "python" if runtime.name else found.is_package or _has("requirements.txt")(found)


CLAIMS: tuple[tuple[Pack, Callable[[Detected], bool]], ...] = (
    (Pack.LEGACY, _legacy),
    (Pack.DOCKERFILE, _has("Dockerfile")),
    (Pack.JULIA, _has("Project.toml", "JuliaProject.toml")),
    (Pack.JULIA_REQUIRE, _has("REQUIRE")),
    (Pack.NIX, _has("default.nix")),
    (Pack.R, _r),
    (Pack.CONDA, _has("environment.yml", "environment.yaml")),
    (Pack.PIPFILE, _pipfile),
    (Pack.PYTHON, _python),
)
"""In repo2docker's order; ``runtime.txt`` is read from R on."""
