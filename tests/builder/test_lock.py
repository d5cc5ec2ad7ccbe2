"""Locks: what is in them, and plans made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.lock import LABEL_BYTES, chosen_plan, facts, label, read, requirements, shorten
from binderlet.builder.plan import Kind, Plan
from binderlet.errors import BadRepository

PLAN = Plan(Kind.PYTHON, "3.11", apt=("curl",), exclude_newer="2024-01-01", reasons=("first",))
SHA = "a" * 64
BODY: dict[str, Any] = {
    "format": 1,
    "base_id": "sha256:1",
    "python": "3.11",
    "debian": ["curl=1"],
    "python_packages": [
        {"name": "numpy", "version": "2.0", "hash": SHA},
        {"name": "toolz", "version": "1.0"},
        {"name": "own", "version": "0", "url": "git+https://example.org/own@1234"},
    ],
}


def test_facts() -> None:
    """What is known beforehand says from what and by whom."""
    known = facts(PLAN, base="b:1", base_id="sha256:1", platform="linux/x86_64", key="k", builder="1")
    assert known["debian"] == ["curl"]
    assert known["exclude_newer"] == "2024-01-01"
    assert json.loads(json.dumps(known)) == known


def test_label() -> None:
    """The label is the short lock; without one what is known; where that is too long, where to look."""
    assert label('{"a":1}', {"format": 1}) == '{"a":1}'
    assert json.loads(label("", {"format": 1})) == {"format": 1, "python_packages": []}
    assert json.loads(label("x" * (LABEL_BYTES + 1), {"format": 1}))["file"].endswith("/lock.json")


def test_requirements() -> None:
    """Exact versions, with hashes and addresses where these are known; a label's short form does, too."""
    expected = f"numpy==2.0 --hash=sha256:{SHA}\ntoolz==1.0\nown @ git+https://example.org/own@1234\n"
    assert requirements(BODY) == expected
    assert requirements({"python_packages": ["numpy==2.0"]}) == "numpy==2.0\n"


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 99}', "{"])
def test_no_lock(text: str) -> None:
    """What is no lock is refused."""
    with pytest.raises(BadRepository, match=r"file\.json is not a lock"):
        read(text, "file.json")


def test_shorten() -> None:
    """The short form has versions and addresses, and no hashes."""
    packages = ["numpy==2.0", "toolz==1.0", "git+https://example.org/own@1234"]
    assert json.loads(shorten(json.dumps(BODY))) == BODY | {"python_packages": packages}


def test_read() -> None:
    """A lock is read as it was written."""
    assert read(json.dumps(BODY), "x") == BODY


def test_locked_plan() -> None:
    """The plan of a lock has its packages and no date."""
    plan = chosen_plan(PLAN, BODY, "sha256:1", "2024-01-01")
    assert (plan.is_locked, plan.exclude_newer, plan.apt) == (True, "", ("curl=1",))
    assert plan.requirements == {plan.requirements_file: requirements(BODY)}
    assert plan.installer_options == ("--no-deps",)
    assert plan.reasons == ("first", "The packages are those of the lock: 3 Python packages.")


def test_another_base() -> None:
    """On another base image Debian's versions are not asked for, and the log says so."""
    plan = chosen_plan(PLAN, BODY, "sha256:2", "")
    assert plan.apt == ("curl",)
    assert "another base image" in plan.reasons[-1]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(Kind.DOCKERFILE),
        Plan(Kind.PYTHON, "3.11", conda=EnvironmentFile("environment.yml", ())),
        Plan(Kind.PYTHON, "3.12"),
    ],
)
def test_what_a_lock_cannot_do(plan: Plan) -> None:
    """Dockerfiles, another kind of packages and another Python are refused."""
    with pytest.raises(BadRepository):
        chosen_plan(plan, BODY, "sha256:1", "")


def test_conda() -> None:
    """The archives that the lock names take the place of solving; what conda built elsewhere is not asked of pip."""
    body = BODY | {"conda": ["https://x/linux-64/toy-1-0.conda#1"], "python_packages": ["a==1", "file:///home/c/work"]}
    plan = chosen_plan(Plan(Kind.PYTHON, "3.11", conda=EnvironmentFile("environment.yml", ())), body, "sha256:1", "")
    assert plan.conda is not None
    assert plan.conda.archives == ("https://x/linux-64/toy-1-0.conda#1",)
    assert plan.requirements == {"requirements.txt": "a==1\n"}
    assert "1 conda and 2 Python packages" in plan.reasons[-1]
    with pytest.raises(BadRepository, match="with conda packages; this one has none"):
        chosen_plan(PLAN, body, "sha256:1", "")


def test_date_of_the_service() -> None:
    """The operator's date counts where the repository has none; never for Dockerfiles."""
    plain = Plan(Kind.PYTHON, "3.11")
    plan = chosen_plan(plain, None, "", "2024-02-02")
    assert plan.installer_options == ("--exclude-newer", "2024-02-02T23:59:59Z")
    assert "builder.exclude_newer" in plan.reasons[-1]
    assert chosen_plan(PLAN, None, "", "2024-02-02") is PLAN
    assert chosen_plan(plain, None, "", "") is plain
    assert chosen_plan(Plan(Kind.DOCKERFILE), None, "", "2024-02-02").exclude_newer == ""
