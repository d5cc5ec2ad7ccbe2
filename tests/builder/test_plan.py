"""Deciding what to build."""

from __future__ import annotations

import pytest

from binderlet.builder.conda.environment_file import read
from binderlet.builder.detect import Detected
from binderlet.builder.plan import Kind, Plan, make_plan
from binderlet.errors import BadRepository


def plan(files: dict[str, str | bytes], others: tuple[str, ...] = (), **more: object) -> Plan:
    """Plan a repository with these files."""
    content = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    return make_plan(Detected(files=content, **more), "3.11", others)  # type: ignore[arg-type] # fields by name


def test_nothing() -> None:
    """A repository without configuration gets the default environment, and the log says so."""
    made = plan({})
    assert made == Plan(Kind.PYTHON, "3.11", reasons=made.reasons)
    assert "default Python environment" in made.reasons[0]


def test_everything() -> None:
    """All files that are known go together."""
    made = plan(
        {
            "requirements.txt": "numpy\n",
            "apt.txt": "vim # editor\n\ncurl  git\ncurl\n",
            "runtime.txt": "python-3.11\n",
            "postBuild": "#!/bin/bash\n",
            "start": "#!/bin/bash\n",
        },
        executable=frozenset({"start"}),
        ignore="data",
    )
    assert made == Plan(
        kind=Kind.PYTHON,
        python="3.11",
        apt=("curl", "git", "vim"),
        requirements_file="requirements.txt",
        requirements={"requirements.txt": "numpy\n"},
        post_build="postBuild",
        start="start",
        executable=frozenset({"start"}),
        ignore="data",
        reasons=made.reasons,
    )
    assert made.reasons == (
        "runtime.txt: Python 3.11.",
        "apt.txt: 4 Debian packages.",
        "requirements.txt: 1 Python requirement.",
        "postBuild: a script that runs once, now.",
        "start: a script that starts each session.",
    )


def test_dockerfile_wins() -> None:
    """A Dockerfile is built as it is; all else is not even read."""
    made = plan({"Dockerfile": b"FROM x # \xe9", "apt.txt": "&&", "runtime.txt": "!", "environment.yml": "!"})
    assert (made.kind, made.dockerfile, made.apt) == (Kind.DOCKERFILE, "Dockerfile", ())
    assert made.reasons[0].startswith("Dockerfile is not UTF-8")


def test_legacy_dockerfile() -> None:
    """The base of the first Binder is refused in words."""
    with pytest.raises(BadRepository, match="andrewosh/binder-base"):
        plan({"Dockerfile": "\nFROM andrewosh/binder-base\n"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("python-3.11", "runtime.txt: Python 3.11."),
        ("python-3", "leaves the version of Python open"),
        ("python-3.11-2024-01-01", "packages are those of 2024-01-01"),
        ("python-2024-01-01", "leaves the version of Python open"),
        ("r-4.3", "asks for nothing that is known here"),
        ("foo-1", "asks for nothing that is known here"),
    ],
)
def test_runtime(text: str, reason: str) -> None:
    """Forms of runtime.txt that go well."""
    made = plan({"runtime.txt": text})
    assert any(reason in line for line in made.reasons)
    assert made.exclude_newer == ("2024-01-01" if "2024" in text else "")


def test_runtime_in_latin_1() -> None:
    """An odd encoding is noted."""
    assert "not UTF-8" in plan({"runtime.txt": b"caf\xe9-1"}).reasons[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not of the form"),
        ("python", "not of the form"),
        ("python-", "not of the form"),
        ("python-3.10-2023", "not of the form"),
        ("python-3.11-2023-1-1", "not of the form"),
        ("python-3.11-2023-13-01", "not a date"),
        ("python-3.11.1", "must be given as 'x.y'"),
        ("python-3.99", "asks for Python 3.99, which is not available"),
        ("python-2", "asks for Python 2"),
    ],
)
def test_wrong_runtime(text: str, words: str) -> None:
    """Forms of runtime.txt that are refused."""
    with pytest.raises(BadRepository, match=words):
        plan({"runtime.txt": text})


@pytest.mark.parametrize("word", ["g++", "libc6:i386", "vim=2:9.0.*", "vim/bookworm-backports", "r-base-core", "0ad"])
def test_apt_words(word: str) -> None:
    """Names with an architecture, a version or a release are Debian's own forms."""
    assert plan({"apt.txt": word}).apt == (word,)


@pytest.mark.parametrize(
    "line", ["curl && touch /pwn", "--allow-downgrades", "curl;id", "$(id)", "vim-", "Curl", "a|b", "./x.deb", "café"]
)
def test_wrong_apt_lines(line: str) -> None:
    """The whole line is checked: it becomes part of a command that runs as root."""
    with pytest.raises(BadRepository, match=r"binder/apt\.txt, line 2: "):
        plan({"binder/apt.txt": f"curl\n{line}\n"}, folder="binder")


def test_apt_in_latin_1() -> None:
    """An odd encoding is noted."""
    made = plan({"apt.txt": b"curl # \xe9"})
    assert made.apt == ("curl",)
    assert "not UTF-8" in made.reasons[0]


def test_local_lines_wait_for_the_repository() -> None:
    """Lines that need the repository's files are installed after these are there, with the options they need."""
    made = plan(
        {
            "binder/requirements.txt": b"\xef\xbb\xbfnumpy\n-e .\n--pre\n-r ../dev.txt\n",
            "dev.txt": "./pkg[all]\npandas\n-c limits.txt\n-c https://example.org/c.txt\n",
            "limits.txt": "numpy<2\n",
            "binder/start": "#!/bin/sh",
        },
        folder="binder",
    )
    assert made.requirements == {
        "binder/requirements.txt": "numpy\n--pre\n-r ../dev.txt\n",
        "dev.txt": "pandas\n-c limits.txt\n-c https://example.org/c.txt\n",
        "limits.txt": "numpy<2\n",
    }
    assert made.local == ("-e", ".", "--pre", "./pkg[all]", "-c", "limits.txt", "-c", "https://example.org/c.txt")
    assert "binder/requirements.txt: 4 Python requirements." in made.reasons


def test_only_local_lines() -> None:
    """Without other requirements the environment is the default one."""
    made = plan({"requirements.txt": "-e .\n"})
    assert (made.requirements_file, made.requirements, made.local) == ("", {}, ("-e", "."))


def test_local_index() -> None:
    """A folder of packages needs the repository's files for everything."""
    made = plan({"requirements.txt": "-f ./wheels\nnumpy\n"})
    assert (made.requirements_file, made.local) == ("", ("-r", "requirements.txt"))


def test_empty_requirements() -> None:
    """A requirement file with nothing in it installs nothing."""
    assert plan({"requirements.txt": "# nothing yet\n"}).requirements_file == ""


def test_requirements_in_latin_1() -> None:
    """Installers read UTF-8, so that is what they get."""
    made = plan({"requirements.txt": b"numpy # caf\xe9\n"})
    assert made.requirements == {"requirements.txt": "numpy # café\n"}
    assert made.reasons[0] == "requirements.txt is not UTF-8: it is read as latin-1."


@pytest.mark.parametrize(
    ("files", "language"),
    [
        ({"Project.toml": ""}, "Julia"),
        ({"default.nix": ""}, "Nix"),
        ({"runtime.txt": "r-4.4-2024-10-01"}, "R"),
        ({"DESCRIPTION": ""}, "R"),
        ({"environment.yaml": ""}, "conda"),
    ],
)
def test_repo2docker(files: dict[str, str | bytes], language: str) -> None:
    """What this builder does not know itself is left to repo2docker, and the log says why."""
    made = plan(files | {"postBuild": "#!/bin/sh", "apt.txt": "curl"})
    assert (made.kind, made.language, made.post_build) == (Kind.REPO2DOCKER, language, "postBuild")
    assert made.reasons[0] == f"{next(iter(files))}: this repository is built by repo2docker ({language})."


PACKAGE = "[project]\nname='x'\nversion='1'\n[build-system]\nrequires=[]\n"


@pytest.mark.parametrize(
    "files",
    [
        {"Pipfile": '[requires]\npython_version = "3.8"\n'},
        {"runtime.txt": "python-3.7"},
        {"pyproject.toml": PACKAGE.replace("version", "requires-python='>=3.12,<3.14'\nversion")},
    ],
)
def test_another_python_is_left_to_repo2docker(files: dict[str, str | bytes]) -> None:
    """A Python that the base image does not have is repo2docker's business."""
    made = plan(files, is_package="pyproject.toml" in files)
    assert (made.kind, made.language) == (Kind.REPO2DOCKER, "Python")
    assert "this service has Python 3.11, which is left to repo2docker" in made.reasons[0]


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({"Pipfile": '[requires]\npython_version = "3.12"\n'}, "3.12"),
        ({"Pipfile": '[packages]\nnumpy = "*"\n', "runtime.txt": "python-3.12"}, "3.11"),
        ({"runtime.txt": "python-3.12"}, "3.12"),
        ({"pyproject.toml": PACKAGE.replace("version", "requires-python='>=3.12'\nversion")}, "3.13"),
        ({"pyproject.toml": PACKAGE.replace("version", "requires-python='>=3.9'\nversion")}, "3.11"),
        ({"pyproject.toml": PACKAGE, "runtime.txt": "python-3.13"}, "3.13"),
        (
            {
                "pyproject.toml": PACKAGE.replace("version", "requires-python='>3.8'\nversion"),
                "runtime.txt": "python-3.12",
            },
            "3.12",
        ),
    ],
)
def test_another_python_that_is_here(files: dict[str, str | bytes], python: str) -> None:
    """A Python that there can be a base image for is the plan's, and the log says so."""
    made = plan(files, is_package="pyproject.toml" in files, others=("3.12", "3.13"))
    assert (made.kind, made.python) == (Kind.PYTHON, python)
    assert any("has a base image of its own" in reason for reason in made.reasons) == (python != "3.11")


def test_a_package_and_its_runtime_at_odds() -> None:
    """A ``runtime.txt`` with a Python that the package does not run on is wrong, and both are named."""
    text = PACKAGE.replace("version", "requires-python='>=3.12'\nversion")
    with pytest.raises(
        BadRepository, match=r"runtime\.txt asks for Python 3\.11, and pyproject\.toml for Python >=3\.12"
    ):
        plan({"pyproject.toml": text, "runtime.txt": "python-3.11"}, is_package=True)


@pytest.mark.parametrize("wanted", [">=3.9", "==3.11.*", "<3.11.5", ""])
def test_a_package(wanted: str) -> None:
    """What a package depends on is the environment's; itself comes after the repository's files."""
    text = PACKAGE.replace("version", f"requires-python='{wanted}'\ndependencies=['numpy', 'a@file:///b']\nversion")
    made = plan({"pyproject.toml": text}, is_package=True)
    assert (made.kind, made.local) == (Kind.PYTHON, (".",))
    assert made.requirements == {"pyproject-dependencies.txt": "numpy\n"}
    assert made.requirements_file == "pyproject-dependencies.txt"
    assert "Python package" in made.reasons[-1]


def test_a_package_with_requirements() -> None:
    """Beside a requirement file only that is the environment; a setup.py says nothing before it runs."""
    made = plan({"setup.py": "", "requirements.txt": "numpy\n"}, is_package=True)
    assert (made.requirements, made.local) == ({"requirements.txt": "numpy\n"}, (".",))
    assert plan({"setup.py": ""}, is_package=True).requirements == {}


def test_a_lock_of_pipenv() -> None:
    """The lock is installed as a requirement file, its local packages after the repository's files."""
    lock = '{"default": {"numpy": {"version": "==2"}, "own": {"path": ".", "editable": true}}}'
    made = plan({"binder/Pipfile.lock": lock, "setup.py": ""}, folder="binder", is_package=False)
    assert (made.kind, made.requirements_file) == (Kind.PYTHON, "binder/Pipfile.lock")
    assert made.requirements == {"binder/Pipfile.lock": "numpy==2\n"}
    assert made.local == ("-e", ".")


def test_repo2docker_with_a_wrong_file() -> None:
    """What is wrong in the files that are known is said before it starts."""
    with pytest.raises(BadRepository, match=r"apt\.txt, line 1"):
        plan({"Project.toml": "", "apt.txt": "&&"})


def test_install_r_alone() -> None:
    """A file that is there and counts for nothing is named."""
    made = plan({"install.R": ""})
    assert made.kind is Kind.PYTHON
    assert any("install.R is left out" in reason for reason in made.reasons)


def test_old_julia() -> None:
    """Julia's package file of before 1.0 is refused."""
    with pytest.raises(BadRepository, match=r"REQUIRE .* no longer supported"):
        plan({"REQUIRE": ""})


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_windows_line_ends(name: str) -> None:
    """A script that Windows saved cannot run, and the message says why."""
    with pytest.raises(BadRepository, match=f"{name}, line 1: .*Windows line ends"):
        plan({name: "#!/bin/bash\r\necho\r\n"})


def conda_plan(
    text: str, files: dict[str, str | bytes] | None = None, others: tuple[str, ...] = (), **more: object
) -> Plan:
    """Plan a repository with an environment.yml."""
    found = read(text.encode(), "environment.yml")
    pip: dict[str, str | bytes] = {found.pip_path: found.pip} if found.pip else {}
    return plan({"environment.yml": text, **pip, **(files or {})}, conda=found, others=others, **more)


def test_conda() -> None:
    """The packages of conda are the environment, pip's come on top; other files for packages are left out."""
    made = conda_plan(
        "dependencies: [python=3.12, toy, {pip: [numpy, -e .]}]",
        {"requirements.txt": "x\n", "apt.txt": "git\n", "runtime.txt": "python-3.11", "postBuild": "#!/bin/sh\n"},
    )
    assert made.conda is not None
    assert (made.kind, made.python, made.apt, made.local) == (Kind.PYTHON, "3.12", ("git",), ("-e", "."))
    assert (made.requirements_file, made.requirements) == (
        "environment.yml (pip)",
        {"environment.yml (pip)": "numpy\n"},
    )
    assert "environment.yml: 2 conda packages." in made.reasons
    assert "requirements.txt is left out beside environment.yml." in made.reasons
    assert "runtime.txt is left out beside environment.yml." in made.reasons


def test_conda_that_needs_none() -> None:
    """A file that asks for nothing but Python and pip is built on the base image's Python."""
    made = conda_plan("dependencies: [python=3.11, pip]")
    assert (made.conda, made.python, made.requirements_file) == (None, "3.11", "")
    other = conda_plan("dependencies: [python=3.12, pip]", others=("3.12",))
    assert (other.conda, other.python) == (None, "3.12")


def test_conda_beyond_us() -> None:
    """What only conda itself can do is left to repo2docker, with the reason."""
    made = conda_plan("channels: ['file:///srv/c']")
    assert made.kind is Kind.REPO2DOCKER
    assert made.fallback_reason == "environment.yml asks for the channel 'file:///srv/c'"
    assert "environment.yml asks for the channel 'file:///srv/c', which is left to repo2docker." in made.reasons


def test_scripts_that_run_conda() -> None:
    """Our images have no conda; repo2docker's have."""
    made = plan({"requirements.txt": "numpy\n", "postBuild": ""}, calls_conda=("postBuild",))
    assert (made.kind, made.fallback_reason) == (Kind.REPO2DOCKER, "postBuild runs conda")
