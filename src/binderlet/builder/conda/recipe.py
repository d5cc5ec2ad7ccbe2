"""What is asked of conda beside what the file asks for, and how the packages get into the image (pure)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from binderlet.builder import render
from binderlet.builder.conda import channels
from binderlet.builder.conda.channels import Channel
from binderlet.builder.conda.environment_file import NAME, EnvironmentFile
from binderlet.builder.layout import PREFIX, UID, USER
from binderlet.errors import BadRepository

LINK_PROGRAM = Path(__file__).with_name("link_program.py")
"""Runs inside builds."""
RATTLER = "0.28.0"
"""The version of py-rattler that links inside the build."""
CACHE = "/var/cache/binderlet-conda"
TOOL = "/opt/binderlet-conda"
FOLDER = "conda"
"""In the build context."""
STAGE = "binderlet-conda"
PROFILE = "/etc/profile.d/binderlet-conda.sh"
PYTHON = "3.10"
"""repo2docker's, where a file leaves it open."""
LIKE_REPO2DOCKER = (
    f"python={PYTHON}.*",
    "jupyterlab=4.*",
    "notebook=7.*",
    "jupyter_server=2.*",
    "ipykernel",
    "ipywidgets=8.*",
    "jupyter-offlinenotebook=0.3.*",
    "jupyter-resource-usage=1.*",
    "nodejs=20.*",
    "pip",
)
"""What repo2docker puts into every environment; where the file names one of them, the file counts."""
ANY_JUPYTER = ("python", "jupyterlab", "notebook", "ipykernel", "pip")
"""Where these versions do not go with what the file asks for."""
NO_JUPYTER = ("python", "pip")
"""Where the channels have no Jupyter that does: then it comes from the package index."""
FROM_INDEX = ("jupyterlab==4.*", "notebook==7.*", "ipykernel", "ipywidgets==8.*", "jupyter-resource-usage==1.*")
ATTEMPTS = (LIKE_REPO2DOCKER, ANY_JUPYTER, NO_JUPYTER)
ARCHIVE = re.compile(
    r"(?P<url>https?://\S+/(?P<subdir>[^/\s]+)/(?P<file>(?P<name>[^/\s]+)-(?P<version>[^/\s-]+)-(?P<build>[^/\s-]+?)"
    r"\.(?:conda|tar\.bz2)))#(?P<hash>[0-9a-f]{64})"
)
"""How a lock names a package."""
GLIBC = {"bookworm": "2.36", "trixie": "2.41"}
"""C library of the base image, by Debian release."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the solver."""

    channels: tuple[Channel, ...]
    attempts: tuple[tuple[str, ...], ...]
    """The first that can be solved counts; the last is the file's own, so its failure is the file's."""
    own: tuple[str, ...]
    """The file's own."""


@dataclass(frozen=True, slots=True)
class Solution:
    """What the solver answered."""

    packages: tuple[Mapping[str, Any], ...]
    has_jupyter: bool

    def listing(self) -> str:
        """Write down what ``link_program.py`` reads."""
        return json.dumps([{**_public(entry), "path": context_path(entry)} for entry in self.packages], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Layers:
    """What conda packages add to an environment's Dockerfile and build context."""

    stages: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)


def ask(found: EnvironmentFile, ours: Sequence[str], mirror: str) -> Question:
    """Work out what to ask for; ``ours`` are the channels where the file names none.

    Raises:
        BadRepository: a channel is in this service's own network.
    """
    wanted = channels.resolve(found.channels, ours, mirror)
    specs = []
    for spec in found.specs:
        placed, more = channels.place(spec, mirror)
        specs.append(placed)
        wanted += [channel for channel in more if channel not in wanted]
    names = found.names()
    attempts = tuple(
        (*specs, *(spec for spec in extra if (match := NAME.match(spec)) and match[1] not in names))
        for extra in ATTEMPTS
    )
    return Question(tuple(wanted), attempts, tuple(specs))


def archives(found: EnvironmentFile, ours: Sequence[str], mirror: str) -> list[dict[str, Any]]:
    """Give the packages that a lock names, as the solver would have described them.

    Raises:
        BadRepository: an address is none of a conda package, or in this service's own network.
    """
    return [_archive(each, ours, mirror) for each in found.archives]


def _archive(text: str, ours: Sequence[str], mirror: str) -> dict[str, Any]:
    match = ARCHIVE.fullmatch(text)
    if match is None:
        raise BadRepository(f"The lock names {channels.public(text)!r}, which is not a conda package with its hash.")
    file = unquote(match["file"])
    return {
        **{part: unquote(match[part]) for part in ("name", "version", "build", "subdir")},
        "file": file,
        "url": channels.locate(match["url"], ours, mirror),
        "size": 0,
        "sha256": match["hash"],
        "md5": "",
    }


def key_parts(found: EnvironmentFile, ours: Sequence[str], day: str = "") -> list[Any]:
    """Give what makes one conda environment differ from another; neither order of packages nor mirrors do."""
    if found.archives:
        return [sorted(found.archives), sorted(found.variables.items()), RATTLER]
    return [
        list(found.channels or ours),
        sorted(set(found.specs)),
        sorted(found.variables.items()),
        [list(extra) for extra in ATTEMPTS],
        RATTLER,
        day,
    ]


def virtual_packages(suite: str, machine: str) -> list[list[str]]:
    """Give what the base image is to packages that ask for a system; no GPU, which sessions do not have."""
    return [
        ["__unix", "0", "0"],
        ["__linux", "5.10", "0"],
        ["__glibc", GLIBC.get(suite, GLIBC["bookworm"]), "0"],
        ["__archspec", "1", machine],
    ]


def context_path(entry: Mapping[str, Any]) -> str:
    """Give an archive's path in the build context's folder."""
    return f"{(entry['sha256'] or entry['md5'])[:16]}/{entry['file']}"


def layers(base: str, found: EnvironmentFile | None, solution: Solution | None, *, cache_mounts: bool) -> Layers:
    """Write what an environment's Dockerfile needs for its conda packages; nothing where it has none."""
    if found is None or solution is None:
        return Layers()
    return Layers(
        stages=_stages(base),
        steps=_steps(found, solution, cache_mounts=cache_mounts),
        texts={f"{FOLDER}/packages.json": solution.listing(), f"{FOLDER}/profile.sh": _profile(found)},
        links={f"{FOLDER}/{context_path(entry)}": Path(entry["archive"]) for entry in solution.packages}
        | {f"{FOLDER}/link_program.py": LINK_PROGRAM},
    )


def _stages(base: str) -> tuple[str, ...]:
    """Write the stage that has the linking program's library; every conda environment on a base shares it."""
    install = f"uv pip install --quiet --no-cache --no-build --no-deps --python {PREFIX}/bin/python --target {TOOL}"
    return (f"FROM {base} AS {STAGE}", "USER root", render.run_step(f"{install} py-rattler=={RATTLER}"))


def _steps(found: EnvironmentFile, solution: Solution, *, cache_mounts: bool) -> tuple[str, ...]:
    """Write the steps that replace the base image's environment.

    Only the first has the cache that builds share: from then on the environment's Python is strangers' code.
    """
    mounts = [
        f"--mount=type=bind,from={STAGE},source={TOOL},target={TOOL}",
        f"--mount=type=bind,source={FOLDER},target=/tmp/{FOLDER}",
    ]
    if cache_mounts:
        mounts.append(f"--mount=type=cache,id=binderlet-conda,target={CACHE},uid={UID},gid={UID}")
    cache = CACHE if cache_mounts else "/tmp/conda-cache"  # noqa: S108 - in the build's container
    link = f"PYTHONPATH={TOOL} {PREFIX}/bin/python /tmp/{FOLDER}/link_program.py /tmp/{FOLDER} {PREFIX} {cache}"
    # Packages for any Python come without bytecode, which each session would have to make again.
    after = [f"{PREFIX}/bin/python -m compileall -q -j 0 {PREFIX}/lib/python*/site-packages || true"]
    if not solution.has_jupyter:
        after.insert(0, f"{render.UV} --no-cache --no-build {shlex.join(FROM_INDEX)}")
    variables = {"CONDA_PREFIX": PREFIX, "VIRTUAL_ENV": "", **found.variables}
    return (
        f"COPY --chmod=0644 {FOLDER}/profile.sh {PROFILE}",
        f"USER {USER}",
        render.run_step(link if cache_mounts else f"{link}; rm -rf {cache}", " ".join(mounts)),
        *(f"ENV {name}={_quoted(value)}" for name, value in variables.items()),
        render.run_step("; ".join(after)),
    )


def _profile(found: EnvironmentFile) -> str:
    """Write what makes a login shell one of an activated environment, as conda's own activation does."""
    variables = {"CONDA_PREFIX": PREFIX, "CONDA_SHLVL": "1", **found.variables}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    scripts = f'for script in {PREFIX}/etc/conda/activate.d/*.sh; do [ -r "$script" ] && . "$script"; done'
    return f"{exports}{scripts}\nunset script\n:\n"


def _quoted(value: str) -> str:
    """Write a value for an ENV instruction, in which ``$`` would be replaced."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _public(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "archive"}
