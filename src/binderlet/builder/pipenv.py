"""Reads ``Pipfile.lock`` and ``Pipfile`` as requirement files (pure): pipenv itself is not needed to install them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from binderlet.builder.detect import Detected
from binderlet.builder.text import decode, read_toml
from binderlet.errors import BadRepository

PYTHON = re.compile(r"\d+\.\d+")
VCS = ("git", "hg", "svn", "bzr")


@dataclass(frozen=True, slots=True)
class Pipenv:
    """What it asks for."""

    path: str
    """The file that counts: the lock, where there is one."""
    requirements: str
    """The same as a requirement file; paths are relative to the file's folder."""
    python: str
    """Such as ``3.11``; empty where it asks for none."""


def read_pipenv(found: Detected) -> Pipenv:
    """Read the lock, else the Pipfile; packages for development count too, as in repo2docker.

    Raises:
        BadRepository: the file is not what its name says; the message names it.
    """
    lock = found.path("Pipfile.lock")
    manifest = read_toml(found.content("Pipfile"), found.path("Pipfile")) if found.path("Pipfile") else {}
    if not lock:
        return _read(found.path("Pipfile"), manifest, manifest, ("packages", "dev-packages"), manifest)
    text, _ = decode(found.content("Pipfile.lock"), lock)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}," if isinstance(error, json.JSONDecodeError) else ""
        raise BadRepository(f"{lock}{line} is not valid JSON: {error}.", hint="Make it again: pipenv lock.") from error
    meta = _table(body, "_meta", lock)
    sources = {"source": meta.get("sources", [])}
    return _read(lock, body, meta, ("default", "develop"), sources | {"requires": manifest.get("requires", {})})


def _read(path: str, body: object, meta: object, sections: tuple[str, str], other: Mapping[str, object]) -> Pipenv:
    """Put a Pipenv together; ``meta`` and then ``other`` say the Python."""
    packages = {name: spec for section in reversed(sections) for name, spec in _table(body, section, path).items()}
    lines = [
        *_indexes(other.get("source", []), path),
        *(_line(name, packages[name], path) for name in sorted(packages)),
    ]
    wanted = [_table(each, "requires", path) for each in (meta, other)]
    named = (str(each[key]) for each in wanted for key in ("python_full_version", "python_version") if key in each)
    python = next((match[0] for name in named if (match := PYTHON.match(name))), "")
    return Pipenv(path, "".join(f"{line}\n" for line in lines), python)


def _indexes(sources: object, path: str) -> Iterator[str]:
    """Give the package indexes; PyPI itself is whatever this service uses for it."""
    listed = sources if isinstance(sources, list) else []
    urls = [_text(source.get("url", ""), path) for source in listed if isinstance(source, Mapping)]
    others = [url for url in urls if url and not url.startswith("https://pypi.org/")]
    if others and len(others) == len(urls):
        yield f"--index-url {others.pop(0)}"
    yield from (f"--extra-index-url {url}" for url in others)


def _line(name: str, spec: object, path: str) -> str:
    """Give the line of one package."""
    if isinstance(spec, str):
        return name if spec.strip() == "*" else f"{name}{_version(spec)}"
    if not isinstance(spec, Mapping):
        raise BadRepository(f"{path}: what it says of {name} is neither a version nor a table.")
    extras = f"[{','.join(map(str, spec['extras']))}]" if spec.get("extras") else ""
    markers = _markers(spec)
    if local := spec.get("path") or (spec.get("file") if "://" not in str(spec.get("file", "")) else None):
        place = _text(local, path)
        place = place if place.startswith((".", "/")) else f"./{place}"
        return f"{'-e ' if spec.get('editable') else ''}{place}{extras}"
    if vcs := next((each for each in VCS if each in spec), ""):
        ref = f"@{spec['ref']}" if spec.get("ref") else ""
        folder = f"#subdirectory={spec['subdirectory']}" if spec.get("subdirectory") else ""
        return f"{name}{extras} @ {vcs}+{_text(spec[vcs], path).removeprefix(f'{vcs}+')}{ref}{folder}{markers}"
    if "file" in spec:
        return f"{name}{extras} @ {_text(spec['file'], path)}{markers}"
    version = _text(spec.get("version", "*"), path)
    hashes = "".join(f" --hash={each}" for each in spec.get("hashes", ()))
    return f"{name}{extras}{'' if version == '*' else _version(version)}{markers}{hashes}"


def _version(version: str) -> str:
    return version if version[:1] in "=<>!~" else f"=={version}"


def _markers(spec: Mapping[str, object]) -> str:
    """Give the condition under which a package is wanted, with a space before the semicolon, as URLs need."""
    keys = ("os_name", "sys_platform", "platform_machine", "platform_system", "python_version", "implementation_name")
    parts = [f"({spec['markers']})"] if spec.get("markers") else []
    parts += [f"({key} {spec[key]})" for key in keys if key in spec]
    return f" ; {' and '.join(parts)}" if parts else ""


def _table(body: object, key: str, path: str) -> Mapping[str, Any]:
    found = body.get(key, {}) if isinstance(body, Mapping) else None
    if not isinstance(found, Mapping):
        raise BadRepository(f"{path}: {key!r} is not a table.")
    return found


def _text(value: object, path: str) -> str:
    """Give a value that must be one word of a line: a line end would begin another requirement."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise BadRepository(f"{path}: {value!r} is not an address or a version.")
    return value
