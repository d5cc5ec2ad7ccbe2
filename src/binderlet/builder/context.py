"""Writes what a build tool reads, into a job's folder: Dockerfile, ignore file, requirement files, secrets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from binderlet.builder import render
from binderlet.builder.supervisor import LATE as RESOLVED


@dataclass(frozen=True, slots=True)
class Context:
    """The files of one build; ``write`` makes them, the other properties say where they are."""

    folder: Path
    dockerfile: str
    ignore: str | None = None
    """Patterns; None leaves it to the repository's own ignore file."""
    requirements: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """More files of the build context, by path in it."""
    links: Mapping[str, Path] = field(default_factory=dict)
    """The same, from elsewhere on this machine: not copied where that can be avoided, and not changed."""
    variables: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None
    uv: str = ""
    """uv's settings, which may hold an index's password; empty for its own."""
    resolved: str = ""
    """What to install, for ``install_program``; it may name an index with its password, too."""
    is_late: bool = False
    """Whether that is not known yet, and will be handed over through a pipe."""
    more_secrets: Mapping[str, Path] = field(default_factory=dict)
    """More that is mounted for single steps, by name; relative paths are below ``root``."""
    hidden: Sequence[str] = ()
    """More patterns, of what the build tool itself adds."""

    @property
    def dockerfile_path(self) -> Path:
        """The Dockerfile."""
        return self.folder / "Dockerfile"

    @property
    def root(self) -> Path:
        """The build context of an environment."""
        return self.folder / "context"

    @property
    def resolved_path(self) -> Path:
        """What to install."""
        return self.folder / RESOLVED

    @property
    def secrets(self) -> dict[str, Path]:
        """What is mounted for single steps."""
        found = {render.ENVIRONMENT_SECRET: self.folder / "environment"}
        if self.uv:
            found[render.UV_SECRET] = self.folder / "uv.toml"
        if self.resolved or self.is_late:
            found[render.RESOLVED_SECRET] = self.resolved_path
        if self.ca_bundle is not None:
            found[render.CA_SECRET] = self.ca_bundle
        return found | {name: self.root / path for name, path in self.more_secrets.items()}

    def write(self) -> None:
        """Write all files. Blocks on the disk."""
        files = self.root / render.REQUIREMENTS
        files.mkdir(parents=True, exist_ok=True)
        self.dockerfile_path.write_bytes(self.dockerfile.encode("utf-8", "surrogateescape"))
        if self.ignore is not None:
            path = self.folder / "Dockerfile.dockerignore"
            path.write_text(render.ignore_file("\n".join([self.ignore, *self.hidden])), encoding="utf-8")
        for name, text in self.requirements.items():
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            (files / name).write_text(text, encoding="utf-8")
        for name, text in self.texts.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")
        for name, source in self.links.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            _link(source, self.root / name)
        variables = render.exports(dict(self.variables))
        if self.is_late:
            os.mkfifo(self.resolved_path, 0o600)
        else:
            self._write_secret(RESOLVED, self.resolved)
        for name, text in {"environment": variables, "uv.toml": self.uv}.items():
            self._write_secret(name, text)

    def _write_secret(self, name: str, text: str) -> None:
        (self.folder / name).touch(mode=0o600)
        (self.folder / name).write_text(text, encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)  # never written through: it may be the source itself
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def own_ignore_file(checkout: Path, dockerfile: str, *, must: bool = False) -> str | None:
    """Give the ignore file that belongs to a Dockerfile alone; None where the repository's own counts.

    Where there ``must`` be one it is the repository's own, or empty.
    """
    repositorys = [".containerignore", ".dockerignore"] if must else []
    for name in [f"{dockerfile}.dockerignore", *repositorys]:
        path = (checkout / name).resolve()
        if path.is_relative_to(checkout.resolve()) and path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return "" if must else None
