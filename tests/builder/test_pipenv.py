"""Pipfile and Pipfile.lock as requirement files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from binderlet.builder.detect import Detected
from binderlet.builder.pipenv import Pipenv, read_pipenv
from binderlet.errors import BadRepository

PYPI = {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}
OURS = {"name": "ours", "url": "https://packages.example.org/simple"}


def lock(default: object, **more: object) -> str:
    """Write a lock."""
    body = {"_meta": {"sources": [PYPI], "requires": {"python_version": "3.11"}}, "default": default, "develop": {}}
    return json.dumps(body | more)


def read(**files: str) -> Pipenv:
    """Read a repository with these files; a dot in a name is written ``__``."""
    return read_pipenv(Detected(files={name.replace("__", "."): text.encode() for name, text in files.items()}))


def test_a_lock() -> None:
    """Pins, extras, markers and hashes stay; packages for development are wanted too; pins of the first count."""
    default = {
        "numpy": {"version": "==2.0.0", "hashes": ["sha256:aa", "sha256:bb"], "markers": "python_version >= '3.9'"},
        "requests": {"version": "==2.32.0", "extras": ["socks"], "index": "pypi"},
        "twice": {"version": "==1"},
    }
    found = read(Pipfile__lock=lock(default, develop={"pytest": {"version": "==8.0.0"}, "twice": {"version": "==2"}}))
    assert found == Pipenv(
        "Pipfile.lock",
        "numpy==2.0.0 ; (python_version >= '3.9') --hash=sha256:aa --hash=sha256:bb\n"
        "pytest==8.0.0\n"
        "requests[socks]==2.32.0\n"
        "twice==1\n",
        "3.11",
    )


def test_a_pipfile() -> None:
    """Without a lock the Pipfile's own words are resolved."""
    found = read(
        Pipfile=(
            '[[source]]\nurl = "https://pypi.org/simple"\n[packages]\nnumpy = "*"\npandas = "~=2.2"\nold = "1.0"\n'
            'tables = {version = "*", sys_platform = "== \'linux\'"}\n[dev-packages]\nblack = ">=24"\n'
            '[requires]\npython_full_version = "3.12.4"\n'
        )
    )
    assert found.requirements == ("black>=24\nnumpy\nold==1.0\npandas~=2.2\ntables ; (sys_platform == 'linux')\n")
    assert (found.path, found.python) == ("Pipfile", "3.12")


def test_the_lock_wins() -> None:
    """The Pipfile beside a lock only says the Python that the lock leaves open."""
    found = read(
        Pipfile='[packages]\nother = "*"\n[requires]\npython_version = "3.10"\n', Pipfile__lock='{"_meta": {}}'
    )
    assert found == Pipenv("Pipfile.lock", "", "3.10")


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"git": "https://g.example/r.git", "ref": "abc"}, "p @ git+https://g.example/r.git@abc"),
        ({"git": "git+https://g.example/r", "subdirectory": "s"}, "p @ git+https://g.example/r#subdirectory=s"),
        ({"file": "https://g.example/p.whl", "markers": "a == 'b'"}, "p @ https://g.example/p.whl ; (a == 'b')"),
        ({"path": ".", "editable": True}, "-e ."),
        ({"path": "lib/p", "extras": ["x"]}, "./lib/p[x]"),
        ({"file": "dist/p.whl"}, "./dist/p.whl"),
    ],
)
def test_packages_from_elsewhere(spec: dict[str, Any], line: str) -> None:
    """Repositories, archives and folders become what pip takes for them."""
    assert read(Pipfile__lock=lock({"p": spec})).requirements == f"{line}\n"


@pytest.mark.parametrize(
    ("sources", "lines"),
    [
        ([PYPI], ""),
        ([PYPI, OURS], "--extra-index-url https://packages.example.org/simple\n"),
        ([OURS], "--index-url https://packages.example.org/simple\n"),
        ([], ""),
        (["odd"], ""),
    ],
)
def test_indexes(sources: list[Any], lines: str) -> None:
    """An index of the repository's own is used; for PyPI the service's mirror is."""
    assert read(Pipfile__lock=json.dumps({"_meta": {"sources": sources}})).requirements == lines


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Pipfile__lock": '{\n"a": \n'}, r"^Pipfile\.lock, line 3, is not valid JSON"),
        ({"Pipfile__lock": "[" * 100_000}, r"^Pipfile\.lock"),
        ({"Pipfile__lock": "[]"}, r"'_meta' is not a table"),
        ({"Pipfile__lock": '{"default": []}'}, r"'default' is not a table"),
        ({"Pipfile__lock": '{"default": {"p": 1}}'}, r"of p is neither"),
        ({"Pipfile__lock": '{"default": {"p": {"version": "==1\\nevil"}}}'}, r"is not an address or a version"),
        ({"Pipfile": "[packages\n"}, r"^Pipfile, line 1"),
    ],
)
def test_what_is_wrong_is_named(files: dict[str, str], message: str) -> None:
    """A file that cannot be read fails with its name, and where."""
    with pytest.raises(BadRepository, match=message):
        read(**files)
