"""Decides what to build from the configuration files of a repository (pure)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from binderlet.builder import requirements
from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.detect import Detected
from binderlet.builder.packs import Pack, choose, runtime_of
from binderlet.builder.pipenv import read_pipenv
from binderlet.builder.project import Project, read_project
from binderlet.builder.pythons import OtherPythonError, Pythons, read_runtime
from binderlet.builder.requirements import Line
from binderlet.builder.text import decode, read_toml
from binderlet.errors import BadRepository

APT_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9]+)?(=[A-Za-z0-9.+:~*-]+|/[a-z0-9-]+)?")
LANGUAGES = {
    Pack.JULIA: "Julia",
    Pack.NIX: "Nix",
    Pack.R: "R",
    Pack.CONDA: "conda",
}
"""What repo2docker builds for us, and what the log calls it."""
WHY = {
    Pack.JULIA: ("Project.toml", "JuliaProject.toml"),
    Pack.NIX: ("default.nix",),
    Pack.R: ("runtime.txt", "DESCRIPTION"),
    Pack.CONDA: ("environment.yml", "environment.yaml"),
}
"""Files that ask for it."""


class Kind(StrEnum):
    """The ways to build."""

    PYTHON = "python"
    """On binderlet's base image: an environment and the repository's files on top."""
    DOCKERFILE = "dockerfile"
    """The repository's own Dockerfile, as it is."""
    REPO2DOCKER = "repo2docker"
    """By repo2docker: what this builder does not know itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build; all paths are relative to the checkout, with ``/``."""

    kind: Kind
    python: str = ""
    """``3.11``; empty for a Dockerfile."""
    apt: tuple[str, ...] = ()
    """Debian packages, sorted."""
    requirements_file: str = ""
    """The requirement file; empty where there is none, or nothing in it."""
    requirements: Mapping[str, str] = field(default_factory=dict)
    """Text by path: the requirement file and what it includes, without the lines that need the repository's files."""
    local: tuple[str, ...] = ()
    """Arguments of ``pip install`` that need the repository's files."""
    post_build: str = ""
    start: str = ""
    executable: frozenset[str] = frozenset()
    """Which of the two scripts may be executed as they are."""
    dockerfile: str = ""
    exclude_newer: str = ""
    """``yyyy-mm-dd``: the repository's own packages are those of that day. Empty: today's."""
    is_locked: bool = False
    """Whether ``requirements`` has every package there is to be, at one version each."""
    language: str = ""
    """What repo2docker is needed for, for people; empty for other kinds."""
    fallback_reason: str = ""
    """Why repo2docker builds what this builder otherwise knows; empty for all else."""
    conda: EnvironmentFile | None = None
    """What conda's packages are to be; None where the base image's Python is the environment."""
    ignore: str = ""
    """Patterns of files that stay out of the image."""
    reasons: tuple[str, ...] = ()
    """Sentences for the log: what was found and what follows from it."""

    @property
    def installer_options(self) -> tuple[str, ...]:
        """Options of uv for which packages it may choose; pip has nothing like them."""
        day = ("--exclude-newer", f"{self.exclude_newer}T23:59:59Z") if self.exclude_newer else ()
        return (*day, *(("--no-deps",) if self.is_locked else ()))


def make_plan(found: Detected, python: str, others: Collection[str] = ()) -> Plan:
    """Decide what to build on a base image that has Python ``python``, such as ``3.11``.

    There can also be a base image for each of ``others``: a plan for one of them has it as its ``python``.

    Raises:
        BadRepository: a file is wrong or asks for what this builder cannot do; the message names file and line.
    """
    pythons = Pythons(python, tuple(others))
    pack = choose(found)
    if pack in {Pack.LEGACY, Pack.JULIA_REQUIRE}:
        raise _gone(pack)
    if pack is Pack.DOCKERFILE:
        return _dockerfile_plan(found, found.path("Dockerfile"))
    if found.calls_conda:
        return _repo2docker_plan(found, pack, f"{', '.join(found.calls_conda)} runs conda")
    if pack is Pack.CONDA and found.conda is not None:
        return _conda_plan(found, found.conda, pythons)
    if pack in LANGUAGES:
        return _repo2docker_plan(found, pack)
    try:
        return _pip_plan(found, pack, pythons)
    except OtherPythonError as error:
        return _repo2docker_plan(found, pack, str(error))


def _pip_plan(found: Detected, pack: Pack, pythons: Pythons) -> Plan:
    if pack is Pack.PIPFILE:
        return _pipfile_plan(found, pythons)
    is_package = found.is_package and not _installs_itself(found)
    return (_package_plan if is_package else _python_plan)(found, pythons)


def _pipfile_plan(found: Detected, pythons: Pythons) -> Plan:
    """Plan for Pipfile.lock or Pipfile, beside which ``requirements.txt`` and a package count for nothing."""
    wanted = read_pipenv(found)
    python = pythons.choose(wanted.path, wanted.python or pythons.own)
    files = dict(found.files or {}) | {wanted.path: wanted.requirements.encode()}
    return _python_plan(replace(found, files=files), pythons, wanted.path, python)


def _package_plan(found: Detected, pythons: Pythons) -> Plan:
    """Plan for a repository that is a Python package: what it depends on first, itself after each commit's COPY."""
    project = read_project(found)
    python = _python_of_package(found, project, pythons)
    own = not found.path("requirements.txt") and bool(project.requirements)
    files = dict(found.files or {}) | ({project.path: project.requirements.encode()} if own else {})
    plan = _python_plan(replace(found, files=files), pythons, project.path if own else None, python)
    reasons = (*plan.reasons, "The repository is a Python package, which each new commit installs anew.")
    return replace(plan, local=(*plan.local, "."), reasons=reasons)


def _python_of_package(found: Detected, project: Project, pythons: Pythons) -> str:
    """Give the Python that a package runs on; empty where that is left to ``runtime.txt``.

    Raises:
        BadRepository: what it runs on is not what ``runtime.txt`` asks for.
    """
    runtime = runtime_of(found)
    asked = runtime.version if runtime.name == "python" and "." in runtime.version else ""
    if asked and project.pythons and not project.runs_on(asked):
        raise BadRepository(
            f"{found.path('runtime.txt')} asks for Python {asked}, and pyproject.toml for Python {project.pythons}."
        )
    if asked or not project.pythons:
        return ""
    newest = pythons.newest(project.runs_on)
    return "" if newest == pythons.own else pythons.choose("pyproject.toml", newest or project.pythons)


def _python_plan(found: Detected, pythons: Pythons, main: str | None = None, chosen: str = "") -> Plan:
    reasons: list[str] = []
    main = found.path("requirements.txt") if main is None else main
    python, day = read_runtime(found, pythons, reasons, chosen)
    if python != pythons.own:
        reasons.append(f"Python {python} has a base image of its own.")
    packages = _apt(found, reasons)
    files, local = _requirements(found, reasons, main)
    _tell_unused(found, reasons)
    for name in ("postBuild", "start"):
        _check_script(found, name, reasons)
    if not reasons:
        reasons.append("The repository has no environment files: it gets the default Python environment.")
    return Plan(
        kind=Kind.PYTHON,
        python=python,
        apt=packages,
        requirements_file=main if files else "",
        requirements=files,
        local=local,
        post_build=found.path("postBuild"),
        start=found.path("start"),
        executable=found.executable,
        exclude_newer=day,
        ignore=found.ignore,
        reasons=tuple(reasons),
    )


def _conda_plan(found: Detected, conda: EnvironmentFile, pythons: Pythons) -> Plan:
    """Plan for ``environment.yml``, beside which ``requirements.txt`` and ``runtime.txt`` count for nothing."""
    if conda.beyond:
        return _repo2docker_plan(found, Pack.CONDA, conda.beyond)
    reasons: list[str] = []
    packages = _apt(found, reasons)
    plain = next((each for each in (pythons.own, *pythons.others) if conda.is_only_pip(each)), "")
    if plain:
        reasons.append(f"{conda.path} asks for no conda package but Python and pip: Python {plain} of the base image.")
    else:
        reasons.append(f"{conda.path}: {_count(len(conda.specs), 'conda package')}.")
    files, local = _requirements(found, reasons, conda.pip_path) if conda.pip else ({}, ())
    reasons += [
        f"{path} is left out beside {conda.path}."
        for name in ("requirements.txt", "runtime.txt")
        if (path := found.path(name))
    ]
    for name in ("postBuild", "start"):
        _check_script(found, name, reasons)
    return Plan(
        kind=Kind.PYTHON,
        python=plain or conda.python,
        apt=packages,
        requirements_file=conda.pip_path if files else "",
        requirements=files,
        local=local,
        post_build=found.path("postBuild"),
        start=found.path("start"),
        executable=found.executable,
        conda=None if plain else conda,
        ignore=found.ignore,
        reasons=tuple(reasons),
    )


def _dockerfile_plan(found: Detected, path: str) -> Plan:
    _, note = decode(found.content("Dockerfile"), path)
    reasons = [note] if note else []
    reasons.append(f"Building {path}; all other configuration files are left out.")
    return Plan(kind=Kind.DOCKERFILE, dockerfile=path, reasons=tuple(reasons))


def _installs_itself(found: Detected) -> bool:
    """Whether the requirement file names the repository as a package, as ``-e .`` does."""
    path = found.path("requirements.txt")
    if not path:
        return False
    lines = requirements.parse(decode(found.content("requirements.txt"), path)[0], path)
    return any(line.kind is requirements.Kind.LOCAL for line in lines)


def _repo2docker_plan(found: Detected, pack: Pack, why: str = "") -> Plan:
    """Leave it to repo2docker; what goes wrong in files that we know is said before it starts."""
    reasons = [f"{why}, which is left to repo2docker."] if why else []
    path = next((found.path(name) for name in WHY.get(pack, ()) if found.path(name)), "pyproject.toml")
    language = LANGUAGES.get(pack, "Python")
    reasons.append(f"{path}: this repository is built by repo2docker ({language}).")
    if path.endswith(".toml"):
        read_toml((found.files or {}).get(path, b""), path)
    _apt(found, reasons)
    for name in ("postBuild", "start"):
        _check_script(found, name, reasons)
    return Plan(
        kind=Kind.REPO2DOCKER,
        language=language,
        fallback_reason=why,
        post_build=found.path("postBuild"),
        start=found.path("start"),
        executable=found.executable,
        ignore=found.ignore,
        reasons=tuple(reasons),
    )


def _gone(pack: Pack) -> BadRepository:
    if pack is Pack.LEGACY:
        return BadRepository(
            "Dockerfile builds on andrewosh/binder-base, which is no longer supported.",
            hint="Write the environment into a requirements.txt or environment.yml instead.",
        )
    return BadRepository(
        "REQUIRE is Julia's package file from before Julia 1.0, which is no longer supported.",
        hint="Replace it with a Project.toml.",
    )


def _tell_unused(found: Detected, reasons: list[str]) -> None:
    """Say which files are there and count for nothing, as a surprise is worse than a line in the log."""
    if path := found.path("install.R"):
        reasons.append(f"{path} is left out: R needs a runtime.txt such as r-4.4-2024-10-01 beside it.")


def _apt(found: Detected, reasons: list[str]) -> tuple[str, ...]:
    path = found.path("apt.txt")
    if not path:
        return ()
    text, note = decode(found.content("apt.txt"), path)
    packages = []
    for number, line in enumerate(text.split("\n"), start=1):
        for word in line.partition("#")[0].split():
            # The whole word is checked: these words become arguments of a command that runs as root.
            if APT_PACKAGE.fullmatch(word) is None:
                raise BadRepository(f"{path}, line {number}: {word!r} is not the name of a Debian package.")
            packages.append(word)
    reasons += [note] if note else []
    reasons.append(f"{path}: {_count(len(packages), 'Debian package')}.")
    return tuple(sorted(set(packages)))


def _requirements(
    found: Detected, reasons: list[str], main: str | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Give the files for the environment and the arguments for what has to wait for the repository's files."""
    main = found.path("requirements.txt") if main is None else main
    if not main:
        return {}, ()
    texts: dict[str, str] = {}
    waiting = [main]
    while waiting:
        path = waiting.pop(0)
        if path not in texts:
            texts[path], note = decode((found.files or {})[path], path)
            reasons += [note] if note else []
            waiting += requirements.included(texts[path], path)
    lines = {path: requirements.parse(text, path) for path, text in texts.items()}
    every = [line for of_file in lines.values() for line in of_file]
    wanted = [line for path in lines if path not in _constraints(lines) for line in lines[path] if line.is_package]
    reasons.append(f"{main}: {_count(len(wanted), 'Python requirement')}.")
    if any(line.kind is requirements.Kind.LOCAL_INDEX for line in every):
        reasons.append(f"{main} uses a folder of packages in the repository, so that each new commit installs anew.")
        return {}, ("-r", main)
    local = _local_arguments(lines)
    if local:
        reasons.append(f"{main} names the repository's own files, which each new commit installs anew.")
    if not any(line.kind is requirements.Kind.REQUIREMENT for line in wanted):
        return {}, local
    return {path: texts[path] if not local else _without_local(of_file) for path, of_file in lines.items()}, local


def _constraints(lines: Mapping[str, list[Line]]) -> set[str]:
    """Paths of the files that only narrow down what others ask for."""
    return {
        requirements.resolve(line, path)
        for path, of_file in lines.items()
        for line in of_file
        if line.kind is requirements.Kind.CONSTRAINT and not line.is_remote
    }


def _local_arguments(lines: Mapping[str, list[Line]]) -> tuple[str, ...]:
    """Give what pip takes, in the root of the repository, to install the lines that need the repository's files."""
    if not any(line.kind is requirements.Kind.LOCAL for of_file in lines.values() for line in of_file):
        return ()
    arguments: list[str] = []
    for path, of_file in lines.items():
        for line in of_file:
            if line.kind in {requirements.Kind.LOCAL, requirements.Kind.OPTION}:
                arguments += line.arguments
            elif line.kind is requirements.Kind.CONSTRAINT:
                arguments += ["-c", line.target if line.is_remote else requirements.resolve(line, path)]
    return tuple(arguments)


def _without_local(lines: list[Line]) -> str:
    return "".join(f"{line.text}\n" for line in lines if line.kind is not requirements.Kind.LOCAL)


def _check_script(found: Detected, name: str, reasons: list[str]) -> None:
    path = found.path(name)
    if not path:
        return
    first = found.content(name).split(b"\n")[0]
    if first.startswith(b"#!") and first.endswith(b"\r"):
        raise BadRepository(
            f"{path}, line 1: the file has Windows line ends, with which it cannot run.",
            hint=f"Save {path} with Unix line ends, and add '{path} text eol=lf' to .gitattributes.",
        )
    what = "runs once, now" if name == "postBuild" else "starts each session"
    reasons.append(f"{path}: a script that {what}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
