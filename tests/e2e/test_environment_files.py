"""Every environment file, from a repository to a session: the table of docs/reference/environment.md, row by row.

A row is launched for real where PyPI and Debian are all that it needs, conda's rows with a channel made here. What asks
servers of its own, R, Julia and Nix, is run by the real repo2docker up to the network's edge, with the build tool's
calls on record: ``ELSEWHERE`` says where.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from binderlet.builder import detect
from support.conda_channel import PYTHON, add_package, python_package, serve_made
from support.gateway import Served, serve_to_containers
from support.gitserver import Files, Program, make_repository
from support.service import Forge, LiveService, Serve, git_spec
from support.visit import Visit
from support.wheels import write_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.timeout(400)]

Launch = Callable[[Files], Visit]
PACKAGE = """
[project]
name = "mine"
version = "1.5"
dependencies = ["iniconfig==2.0.0"]
{more}
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
py-modules = ["mine"]
"""
INICONFIG = "sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"
LOCK = {
    "_meta": {"requires": {"python_version": "3.11"}, "sources": [{"name": "pypi", "url": "https://pypi.org/simple"}]},
    "default": {"iniconfig": {"version": "==2.0.0", "hashes": [INICONFIG]}},
    "develop": {"toposort": {"version": "==1.10"}},
}
START = Program('#!/bin/bash\nexport FROM_START=yes\nexec "$@"\n')
POST_BUILD = Program("#!/bin/bash\npython -c 'import iniconfig' && touch built\n")
VERSION = "from importlib.metadata import version; print(*map(version, {!r}))"


@dataclass(frozen=True)
class Row:
    """A repository, and what a session of it shows."""

    files: Files
    python: str
    """Run in the session."""
    printed: str


def versions(*names: str) -> str:
    """Code that prints the versions of packages."""
    return VERSION.format(names)


ROWS = {
    "requirements: includes, constraints, extras, markers, comments": Row(
        {
            "requirements.txt": "# tools\n-r more.txt\n-c pins.txt\niniconfig  # pinned elsewhere\n",
            "more.txt": "requests[socks]\ntoposort ; python_version < '3'\n",
            "pins.txt": "iniconfig==2.0.0\n",
        },
        "import iniconfig, socks, importlib.util as u; print(bool(u.find_spec('toposort')))",
        "False",
    ),
    "requirements: hashes": Row(
        {"requirements.txt": f"iniconfig==2.0.0 --hash={INICONFIG}\n"}, versions("iniconfig"), "2.0.0"
    ),
    "Pipfile": Row(
        {
            "Pipfile": '[packages]\niniconfig = "==2.0.0"\n[dev-packages]\ntoposort = "*"\n',
            "requirements.txt": "none!\n",
        },
        "import toposort; " + versions("iniconfig"),
        "2.0.0",
    ),
    "Pipfile.lock": Row(
        {"Pipfile": '[packages]\niniconfig = "*"\n', "Pipfile.lock": json.dumps(LOCK)},
        versions("iniconfig", "toposort"),
        "2.0.0 1.10",
    ),
    "setup.py": Row(
        {
            "setup.py": "from setuptools import setup\nsetup(name='mine', version='1.5', py_modules=['mine'])\n",
            "setup.cfg": "[metadata]\ndescription = mine\n",
            "mine.py": "",
        },
        versions("mine"),
        "1.5",
    ),
    "pyproject.toml": Row(
        {"pyproject.toml": PACKAGE.format(more="requires-python = '>=3.9'"), "mine.py": ""},
        versions("mine", "iniconfig"),
        "1.5 2.0.0",
    ),
    "environment.yml: Python and pip alone": Row(
        {"environment.yml": "dependencies: [python, pip, {pip: [iniconfig==2.0.0]}]\n", "requirements.txt": "none!\n"},
        versions("iniconfig"),
        "2.0.0",
    ),
    "environment.yaml beside a folder for configuration": Row(
        {"binder/environment.yaml": "dependencies: [pip, {pip: [iniconfig==2.0.0]}]\n", "requirements.txt": "none!\n"},
        versions("iniconfig"),
        "2.0.0",
    ),
    "runtime.txt with a date": Row(
        {"runtime.txt": "python-3.11-2022-12-31\n", "requirements.txt": "iniconfig\n"}, versions("iniconfig"), "1.1.1"
    ),
    "binder/: apt.txt, runtime.txt, requirements.txt, postBuild and start together": Row(
        {
            "binder/apt.txt": "hello\n",
            "binder/runtime.txt": "python-3.11\n",
            "binder/requirements.txt": "iniconfig==2.0.0\n",
            "binder/postBuild": POST_BUILD,
            "binder/start": START,
            "requirements.txt": "none!\n",
        },
        "import os, subprocess as s; print(s.getoutput('hello'), os.environ['FROM_START'], os.path.exists('built'))",
        "Hello, world! yes True",
    ),
    ".binder/": Row(
        {".binder/requirements.txt": "iniconfig==2.0.0\n", "requirements.txt": "none!\n", "apt.txt": "none!\n"},
        versions("iniconfig"),
        "2.0.0",
    ),
    "install.R without a runtime.txt": Row({"install.R": "install.packages('x')\n"}, "print(1)", "1"),
    "nothing at all": Row({"README.md": ""}, "import ipywidgets; print(1)", "1"),
    "only notebooks": Row(
        {"a.ipynb": "{}", "folder/b.ipynb": "{}"}, "import os; print(os.listdir('folder'))", "['b.ipynb']"
    ),
}
ELSEWHERE = {
    "Dockerfile": "tests/e2e/test_main_path.py",
    "Project.toml": "tests/builder/test_fallback_engine.py",
    "JuliaProject.toml": "tests/builder/test_fallback_engine.py",
    "REQUIRE": "tests/builder/test_plan.py",
    "default.nix": "tests/builder/test_fallback_engine.py",
    "DESCRIPTION": "tests/builder/test_fallback_engine.py",
}
"""Rows that are tested in another place."""


AHEAD = 2
"""Rows that are launched while one is looked at."""


class Ahead:
    """Launches rows, and those that come next while one is looked at: much of a build is waiting for the network."""

    def __init__(self, service: LiveService, forge: Forge) -> None:
        self._service = service
        self._forge = forge
        self._pool = ThreadPoolExecutor(1 + AHEAD)
        self._launches: dict[str, Future[Visit]] = {}

    def session_of(self, name: str) -> Visit:
        """Give the session of a row."""
        place = list(ROWS).index(name)
        for each in list(ROWS)[place : place + 1 + AHEAD]:
            if each not in self._launches:
                self._launches[each] = self._pool.submit(self._launch, each)
        return self._launches[name].result()

    def _launch(self, name: str) -> Visit:
        _, url = self._forge.repository(ROWS[name].files)
        return Visit(self._service.ready(git_spec(url), timeout=300))

    def end(self, visit: Visit) -> None:
        """End a session."""
        self._service.admin("DELETE", f"/sessions/{visit.id}")

    def close(self) -> None:
        """Launch nothing more, and end what nobody looked at."""
        self._pool.shutdown(cancel_futures=True)
        ended = [
            launch.result() for launch in self._launches.values() if not launch.cancelled() and not launch.exception()
        ]
        here = {session["id"] for session in self._service.sessions()}
        for visit in ended:
            if visit.id in here:
                self.end(visit)


@pytest.fixture(scope="module")
def ahead(service: LiveService, forge: Forge) -> Iterator[Ahead]:
    """One for all rows."""
    made = Ahead(service, forge)
    yield made
    made.close()


@pytest.mark.parametrize("name", ROWS)
def test_row(ahead: Ahead, name: str) -> None:
    """The session has what the files ask for, in its notebooks' kernel's own Python."""
    session = ahead.session_of(name)
    session.get("lab")
    shown = session.run_cell(ROWS[name].python)
    ahead.end(session)
    assert shown.strip() == ROWS[name].printed


def test_every_file_has_a_row() -> None:
    """No file that is known is left out of the table."""
    here = {path.rpartition("/")[2] for row in ROWS.values() for path in row.files}
    names = {*detect.TEXTS, *detect.ROOT_TEXTS, *detect.SCRIPTS}
    assert names <= here | ELSEWHERE.keys()
    for name, path in ELSEWHERE.items():
        assert name in Path(__file__).parents[2].joinpath(path).read_text(), f"{path} has no row of {name}"


def test_both_folders(service: LiveService, forge: Forge) -> None:
    """With ``binder/`` and ``.binder/`` nobody could say which counts, so neither does."""
    _, url = forge.repository({"binder/x": "", ".binder/y": ""})
    *_, last = service.launch(git_spec(url))
    assert (last["phase"], last["code"]) == ("failed", "bad_repository")
    assert "binder" in last["message"]
    assert ".binder" in last["message"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A wheel and a repository of a package, on a server that builds reach."""
    folder = tmp_path_factory.mktemp("served")
    write_wheel(folder, "by-address", "3.1")
    make_repository(folder / "work", {"pyproject.toml": PACKAGE.format(more=""), "mine.py": ""})
    subprocess.run(["git", "clone", "-q", "--bare", folder / "work", folder / "mine.git"], check=True)
    subprocess.run(["git", "-C", folder / "mine.git", "update-server-info"], check=True)
    with serve_to_containers(folder) as server:
        yield server


def test_requirements_by_address(launch: Launch, served: Served) -> None:
    """A wheel's address and a git repository are requirements like any other."""
    wheel = f"{served.address}/by_address-3.1-py3-none-any.whl"
    session = launch({"requirements.txt": f"{wheel}\nmine @ git+{served.address}/mine.git\n"})
    assert session.execute("python", "-c", versions("by-address", "mine")) == "3.1 1.5\n"


def test_extension_of_jupyterlab(launch: Launch) -> None:
    """An extension that comes as a Python package is one that JupyterLab lists, and its page loads."""
    session = launch({"requirements.txt": "jupyterlab-execute-time==3.2.0\n"})
    assert "jupyterlab-execute-time" in session.get("lab").decode()
    listed = session.execute("bash", "-lc", "jupyter labextension list 2>&1")
    assert "jupyterlab-execute-time v3.2.0" in listed
    assert "enabled" in listed


@pytest.fixture(scope="module")
def with_conda(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service whose conda mirror has a channel of the tests: this machine's Python and a package, no Jupyter."""
    channel = tmp_path_factory.mktemp("conda") / "ours"
    python_package(channel)
    module = {"site-packages/toy.py": "VERSION = '1.0'\n"}
    add_package(channel, "toy", "1.0", depends=["python"], files=module)
    add_package(channel, "pip", "1.0", depends=["python"], files={"site-packages/pip_of_conda.py": ""})
    with serve_made(channel.parent, "ours") as channels, serve(network__conda_mirror=channels.url) as running:
        yield running


def test_environment_yml_with_conda_packages(with_conda: LiveService, forge: Forge) -> None:
    """Conda's packages, a pinned Python and pip's packages are in one environment with Jupyter."""
    text = f"channels: [ours]\ndependencies:\n  - python={PYTHON}\n  - toy=1\n  - pip: [iniconfig==2.0.0]\n"
    _, url = forge.repository({"environment.yml": text, "requirements.txt": "none!\n"})
    session = Visit(with_conda.ready(git_spec(url), timeout=350))
    session.get("lab")
    assert (
        session.run_cell("import toy, iniconfig, sys; print(toy.VERSION, sys.prefix)")
        == "1.0 /srv/conda/envs/notebook\n"
    )
