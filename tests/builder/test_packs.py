"""Precedence of configuration files: one table, which repo2docker's own detection must agree with."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from binderlet.builder.detect import detect
from binderlet.builder.packs import CLAIMS, Pack, choose
from binderlet.errors import BadRepository

PACKAGE = "[project]\nname='x'\n[build-system]\nrequires=[]\n"
TOOLS = "[tool.ruff]\n"
LEGACY = "FROM andrewosh/binder-base\n"

TABLE: list[tuple[dict[str, str], Pack]] = [
    ({}, Pack.DEFAULT),
    ({"analysis.ipynb": "{}"}, Pack.DEFAULT),
    # One file alone, in each of the three places.
    *(
        ({folder + name: text}, pack)
        for folder in ("", "binder/", ".binder/")
        for name, text, pack in (
            ("Dockerfile", "FROM x", Pack.DOCKERFILE),
            ("Project.toml", "", Pack.JULIA),
            ("JuliaProject.toml", "", Pack.JULIA),
            ("REQUIRE", "", Pack.JULIA_REQUIRE),
            ("default.nix", "", Pack.NIX),
            ("runtime.txt", "r-4.3-2023-01-01", Pack.R),
            ("runtime.txt", "r-2023-01-01", Pack.R),
            ("runtime.txt", "r-4.3", Pack.DEFAULT),
            ("runtime.txt", "python-3.12", Pack.PYTHON),
            ("runtime.txt", "python-3.12-2024-01-01", Pack.PYTHON),
            ("runtime.txt", "foo-1", Pack.DEFAULT),
            ("environment.yml", "", Pack.CONDA),
            ("environment.yaml", "", Pack.CONDA),
            ("Pipfile", "", Pack.PIPFILE),
            ("Pipfile.lock", "{}", Pack.PIPFILE),
            ("requirements.txt", "", Pack.PYTHON),
            ("install.R", "", Pack.DEFAULT),
            ("apt.txt", "", Pack.DEFAULT),
            ("postBuild", "", Pack.DEFAULT),
            ("start", "", Pack.DEFAULT),
        )
    ),
    # Only in the root, and only without a folder.
    ({"DESCRIPTION": ""}, Pack.R),
    ({"setup.py": ""}, Pack.PYTHON),
    ({"pyproject.toml": PACKAGE}, Pack.PYTHON),
    ({"pyproject.toml": TOOLS}, Pack.DEFAULT),
    ({"setup.cfg": ""}, Pack.DEFAULT),
    ({"binder/DESCRIPTION": ""}, Pack.DEFAULT),
    ({"binder/setup.py": ""}, Pack.DEFAULT),
    ({"DESCRIPTION": "", "binder/x": ""}, Pack.DEFAULT),
    ({"setup.py": "", "binder/x": ""}, Pack.DEFAULT),
    ({"requirements.txt": "", "binder/x": ""}, Pack.DEFAULT),
    ({"environment.yml": "", ".binder/requirements.txt": ""}, Pack.PYTHON),
    ({"Dockerfile": "FROM x", "binder/requirements.txt": ""}, Pack.PYTHON),
    # The first Binder's base counts in the root, even beside a folder; its name may be in a comment.
    ({"Dockerfile": LEGACY}, Pack.LEGACY),
    ({"Dockerfile": LEGACY, "binder/requirements.txt": ""}, Pack.LEGACY),
    ({"Dockerfile": "FROM AndrewOsh/Binder-Base:1 # old\n"}, Pack.LEGACY),
    ({"Dockerfile": "FROM x # not andrewosh/binder-base\n"}, Pack.DOCKERFILE),
    ({"binder/Dockerfile": LEGACY}, Pack.DOCKERFILE),
    # Who wins.
    ({"Dockerfile": "FROM x", "Project.toml": "", "environment.yml": "", "runtime.txt": "wrong"}, Pack.DOCKERFILE),
    ({"Project.toml": "", "REQUIRE": "", "default.nix": "", "environment.yml": ""}, Pack.JULIA),
    ({"JuliaProject.toml": "", "requirements.txt": "", "runtime.txt": "wrong"}, Pack.JULIA),
    ({"REQUIRE": "", "default.nix": ""}, Pack.JULIA_REQUIRE),
    ({"default.nix": "", "runtime.txt": "wrong", "requirements.txt": ""}, Pack.NIX),
    ({"runtime.txt": "r-4.3-2023-01-01", "environment.yml": "", "requirements.txt": ""}, Pack.R),
    ({"DESCRIPTION": "", "runtime.txt": "python-3.12", "requirements.txt": ""}, Pack.R),
    ({"install.R": "", "requirements.txt": ""}, Pack.PYTHON),
    ({"install.R": "", "environment.yml": ""}, Pack.CONDA),
    ({"runtime.txt": "r-4.3", "environment.yml": ""}, Pack.CONDA),
    ({"runtime.txt": "r-4.3", "requirements.txt": "", "Pipfile": ""}, Pack.DEFAULT),
    ({"environment.yml": "", "Pipfile": "", "requirements.txt": "", "setup.py": ""}, Pack.CONDA),
    ({"environment.yml": "", "runtime.txt": "python-3.12"}, Pack.CONDA),
    ({"Pipfile": "", "requirements.txt": "", "setup.py": ""}, Pack.PIPFILE),
    ({"Pipfile": "", "runtime.txt": "python-3.12"}, Pack.PIPFILE),
    ({"Pipfile.lock": "{}", "runtime.txt": "foo-1"}, Pack.DEFAULT),
    ({"setup.py": "", "runtime.txt": "foo-1"}, Pack.DEFAULT),
    ({"requirements.txt": "", "runtime.txt": "foo-1"}, Pack.DEFAULT),
    ({"requirements.txt": "", "apt.txt": "", "postBuild": "", "start": ""}, Pack.PYTHON),
]
WRONG_RUNTIME = [
    {"runtime.txt": text, **more}
    for text in ("", "python", "python-3.10-2023", "python-3.10-2023-13-01")
    for more in ({}, {"requirements.txt": ""}, {"environment.yml": ""}, {"DESCRIPTION": ""})
]
NAMES = {
    "JuliaProjectTomlBuildPack": Pack.JULIA,
    "JuliaRequireBuildPack": Pack.JULIA_REQUIRE,
    "NixBuildPack": Pack.NIX,
    "RBuildPack": Pack.R,
    "CondaBuildPack": Pack.CONDA,
    "PipfileBuildPack": Pack.PIPFILE,
    "PythonBuildPack": Pack.PYTHON,
    "DockerBuildPack": Pack.DOCKERFILE,
}


def write(root: Path, files: dict[str, str]) -> Path:
    """Make a checkout."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def repo2docker_says() -> Pack:
    """Ask repo2docker about the working directory, the way it asks itself."""
    from repo2docker.app import Repo2Docker  # type: ignore[import-untyped] # noqa: PLC0415 - half a second that only these tests need

    for pack in Repo2Docker().buildpacks:
        try:
            if pack(base_image="x").detect():
                return NAMES[pack.__name__]
        except RuntimeError:
            return Pack.LEGACY
    return Pack.DEFAULT


def title(files: object) -> str:
    """Name a row of the table."""
    return " ".join(files) if isinstance(files, dict) else ""


@pytest.mark.parametrize(("files", "pack"), TABLE, ids=title)
def test_precedence(tmp_path: Path, files: dict[str, str], pack: Pack) -> None:
    """Each row of the table."""
    assert choose(detect(write(tmp_path, files))) is pack


@pytest.mark.parametrize(("files", "pack"), TABLE, ids=title)
@pytest.mark.filterwarnings("ignore")
def test_repo2docker_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], pack: Pack) -> None:
    """repo2docker itself chooses the same for each row."""
    monkeypatch.chdir(write(tmp_path, files))
    logging.getLogger("repo2docker").disabled = True
    assert repo2docker_says() is pack


@pytest.mark.parametrize("files", WRONG_RUNTIME, ids=title)
@pytest.mark.filterwarnings("ignore")
def test_wrong_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """A wrong runtime.txt is an error for both, whatever comes after R in the order."""
    write(tmp_path, files)
    with pytest.raises(BadRepository, match=r"runtime\.txt"):
        choose(detect(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"Invalid runtime\.txt|month must be"):
        repo2docker_says()


def test_every_pack_is_in_the_table() -> None:
    """No pack is left untested."""
    assert {pack for _, pack in TABLE} == set(Pack)
    assert [pack for pack, _ in CLAIMS] == [pack for pack in Pack if pack is not Pack.DEFAULT]
