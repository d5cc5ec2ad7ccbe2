"""Finding the configuration of a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.builder import detect as module
from binderlet.builder.detect import Detected, detect
from binderlet.errors import BadRepository


def write(root: Path, files: dict[str, str]) -> Path:
    """Make a checkout."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_nothing() -> None:
    """What was never read has no files."""
    assert Detected().path("apt.txt") == ""
    assert Detected().content("apt.txt") == b""


@pytest.mark.parametrize("folder", ["binder", ".binder"])
def test_folder_wins_over_root(tmp_path: Path, folder: str) -> None:
    """Where there is a folder for configuration the root's files are ignored, all of them."""
    found = detect(write(tmp_path, {f"{folder}/apt.txt": "curl", "requirements.txt": "numpy", "setup.py": ""}))
    assert found.folder == folder
    assert found.path("apt.txt") == f"{folder}/apt.txt"
    assert found.path("requirements.txt") == ""
    assert not found.is_package


def test_empty_folder_counts(tmp_path: Path) -> None:
    """An empty folder is a folder."""
    (write(tmp_path, {"requirements.txt": "numpy"}) / "binder").mkdir()
    assert detect(tmp_path).files == {}


def test_file_named_binder_is_no_folder(tmp_path: Path) -> None:
    """A file of the folder's name says nothing."""
    assert detect(write(tmp_path, {"binder": "", "requirements.txt": "numpy"})).path("requirements.txt")


def test_both_folders(tmp_path: Path) -> None:
    """Two folders for configuration are one too many."""
    (tmp_path / "binder").mkdir()
    (tmp_path / ".binder").mkdir()
    with pytest.raises(BadRepository, match=r"both a 'binder' and a '\.binder'"):
        detect(tmp_path)


def test_scripts(tmp_path: Path) -> None:
    """Of scripts only the start is read, and whether they may be executed."""
    write(tmp_path, {"postBuild": "#!/bin/sh\n" + "x" * 1000, "start": "#!/bin/sh\n"})
    (tmp_path / "start").chmod(0o755)
    found = detect(tmp_path)
    assert len(found.content("postBuild")) == module.FIRST_LINE
    assert found.executable == {"start"}


def test_folder_named_like_a_script_is_none(tmp_path: Path) -> None:
    """A folder that has the name of a configuration file is just a folder."""
    (tmp_path / "start").mkdir()
    assert detect(tmp_path).files == {}


def test_includes_are_read(tmp_path: Path) -> None:
    """What a requirement file includes is read, and what that includes, once."""
    write(
        tmp_path,
        {
            "binder/requirements.txt": "-r ../dev.txt\n-c limits.txt",
            "dev.txt": "-r binder/requirements.txt\n-c binder/limits.txt",
            "binder/limits.txt": "numpy<2",
        },
    )
    assert set(detect(tmp_path).files or {}) == {"binder/requirements.txt", "dev.txt", "binder/limits.txt"}


def test_missing_include(tmp_path: Path) -> None:
    """An include of a file that is not there is refused by name."""
    with pytest.raises(BadRepository, match=r"requirements\.txt includes dev\.txt, which is not"):
        detect(write(tmp_path, {"requirements.txt": "-r dev.txt"}))


def test_dockerfile_leaves_requirements_alone(tmp_path: Path) -> None:
    """With a Dockerfile the requirement file is the Dockerfile's business, wrong or not."""
    assert detect(write(tmp_path, {"Dockerfile": "FROM x", "requirements.txt": "-r gone.txt"})).path("Dockerfile")


@pytest.mark.parametrize("name", ["apt.txt", "Dockerfile", "requirements.txt", "start", ".dockerignore"])
def test_links_out_of_the_repository(tmp_path: Path, name: str) -> None:
    """A link to a file of this machine is not read."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (tmp_path / "secret").write_text("secret")
    (checkout / name).symlink_to(tmp_path / "secret")
    with pytest.raises(BadRepository, match="leads out of the repository"):
        detect(checkout)


def test_linked_folder_out_of_the_repository(tmp_path: Path) -> None:
    """The same for a linked folder."""
    checkout = write(tmp_path / "checkout", {"x": ""})
    write(tmp_path / "other", {"apt.txt": "curl"})
    (checkout / "binder").symlink_to(tmp_path / "other")
    with pytest.raises(BadRepository, match="leads out of the repository"):
        detect(checkout)


def test_links_within_the_repository(tmp_path: Path) -> None:
    """A link to another file of the repository is fine."""
    write(tmp_path, {"requirements/base.txt": "numpy"})
    (tmp_path / "requirements.txt").symlink_to("requirements/base.txt")
    assert detect(tmp_path).content("requirements.txt") == b"numpy"


def test_large_file(tmp_path: Path) -> None:
    """A configuration file of megabytes is a mistake."""
    with pytest.raises(BadRepository, match=r"apt\.txt is larger than 1024 kB"):
        detect(write(tmp_path, {"apt.txt": "x" * (module.LARGEST + 1)}))


@pytest.mark.parametrize("name", [*module.TEXTS, *module.ROOT_TEXTS])
def test_every_file_is_read(tmp_path: Path, name: str) -> None:
    """Each configuration file that repo2docker knows is read."""
    assert detect(write(tmp_path, {name: ""})).path(name) == name


@pytest.mark.parametrize("name", module.ROOT_TEXTS)
def test_package_files_in_the_folder(tmp_path: Path, name: str) -> None:
    """What makes a package counts in the root alone."""
    assert detect(write(tmp_path, {f"binder/{name}": ""})).files == {}


@pytest.mark.parametrize(
    ("files", "is_package"),
    [
        ({"setup.py": ""}, True),
        ({"pyproject.toml": "[project]\nname='x'\n[build-system]\nrequires=[]\n"}, True),
        ({"pyproject.toml": "[tool.ruff]\n"}, False),
        ({"pyproject.toml": "[project]\nname='x'\n"}, False),
        ({"setup.cfg": ""}, False),
        ({}, False),
    ],
)
def test_package(tmp_path: Path, files: dict[str, str], *, is_package: bool) -> None:
    """A pyproject.toml makes a package only where it has a project and a build system."""
    assert detect(write(tmp_path, files)).is_package is is_package


def test_wrong_pyproject(tmp_path: Path) -> None:
    """A pyproject.toml that cannot be read is named, with the line."""
    with pytest.raises(BadRepository, match=r"pyproject\.toml, line 2, is not valid TOML: "):
        detect(write(tmp_path, {"pyproject.toml": "[project]\nname = \n"}))


def test_ignore_files(tmp_path: Path) -> None:
    """Both ignore files count, where the configuration is."""
    write(tmp_path, {"binder/.dockerignore": "data\n", "binder/.containerignore": "*.bin\n", ".dockerignore": "src"})
    assert detect(tmp_path).ignore == "data\n\n*.bin"


def test_conda(tmp_path: Path) -> None:
    """environment.yml is read with what its pip section includes; requirements.txt is not even looked into."""
    write(
        tmp_path,
        {
            "environment.yml": "dependencies: [toy, {pip: [-r more.txt]}]\n",
            "environment.yaml": "not: [read\n",
            "more.txt": "numpy\n",
            "requirements.txt": "no such thing",
        },
    )
    found = detect(tmp_path)
    assert found.conda is not None
    assert found.conda.specs == ("toy",)
    assert found.files is not None
    assert found.files["environment.yml (pip)"] == b"-r more.txt\n"
    assert found.files["more.txt"] == b"numpy\n"
    (tmp_path / "Dockerfile").write_text("FROM x")
    assert detect(tmp_path).conda is None


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("#!/bin/bash\nset -e; conda install -y numpy\n", True),
        ("mamba  env update\n", True),
        ("# conda install numpy\n", False),
        ("echo miniconda-installer\n", False),
        ("pip install conda-pack\n", False),
        ("x" * 5000 + "\nmicromamba install x\n", True),
    ],
)
def test_scripts_that_run_conda(tmp_path: Path, text: str, *, calls: bool) -> None:
    """A script that runs conda is found, wherever in it that is."""
    assert bool(detect(write(tmp_path, {"postBuild": text})).calls_conda) is calls
