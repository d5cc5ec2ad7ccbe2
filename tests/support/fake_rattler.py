"""The library's names, scripted: the real one is loaded only by programs of their own, as it crashes while they end."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


class InvalidMatchSpecError(Exception):
    """As in the library."""


class SolverError(Exception):
    """As in the library."""


class GatewayError(Exception):
    """As in the library."""


@dataclass
class Record:
    """A package."""

    file_name: str
    url: str
    sha256: bytes | None = None
    md5: bytes | None = None
    size: int | None = None

    name = SimpleNamespace(normalized="toy")
    version = "1.0"
    build = "0"
    subdir = "noarch"

    @staticmethod
    async def from_package_archive(path: Path) -> Record:
        """Read an archive."""
        return Record(path.name, path.as_uri())


class Script:
    """What the library does, and what it was asked."""

    def __init__(self) -> None:
        self.answers: list[list[Record] | Exception] = []
        self.asked: list[dict[str, Any]] = []
        self.installed: list[dict[str, Any]] = []

    async def solve(self, sources: Sequence[str], specs: Sequence[str], **options: Any) -> list[Record]:  # noqa: ANN401 - as the library's
        """Give the next answer."""
        self.asked.append({"sources": sources, "specs": specs, **options})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def install(self, records: Sequence[Record], prefix: Path, **options: Any) -> None:  # noqa: ANN401 - as the library's
        """Write the records of the packages."""
        self.installed.append({"records": records, **options})
        await asyncio.to_thread(_write, prefix / "conda-meta", records)


def _write(folder: Path, records: Sequence[Record]) -> None:
    folder.mkdir(parents=True)
    for record in records:
        (folder / f"{record.file_name.removesuffix('.conda')}.json").write_text('{"url": "file:///x"}')


def match_spec(spec: str) -> str:
    """Read a spec."""
    if "=>" in spec:
        raise InvalidMatchSpecError(f"cannot read {spec}\nat all")
    return spec


@contextmanager
def program(path: Path, script: Script) -> Iterator[ModuleType]:
    """Load a program whose library is the script."""
    exceptions = SimpleNamespace(
        GatewayError=GatewayError, InvalidMatchSpecError=InvalidMatchSpecError, SolverError=SolverError
    )

    def keep(*values: object, **named: object) -> tuple[object, ...]:
        return (*values, *named.values())

    names = ("BuildString", "Gateway", "GenericVirtualPackage", "PackageName", "SourceConfig", "Version")
    library = SimpleNamespace(
        **dict.fromkeys(names, keep),
        MatchSpec=match_spec,
        RepoDataRecord=Record,
        solve=script.solve,
        install=script.install,
        exceptions=exceptions,
    )
    saved = {name: sys.modules.get(name) for name in ("rattler", "rattler.exceptions")}
    sys.modules.update({"rattler": library, "rattler.exceptions": exceptions})  # type: ignore[dict-item] # stand-ins
    try:
        spec = importlib.util.spec_from_file_location(f"binderlet.builder.conda.{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        for name, before in saved.items():
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
