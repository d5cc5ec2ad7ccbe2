"""Which packages get layers of their own, and which layers fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.builder import stack
from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.plan import Kind, Plan
from binderlet.config.network import NetworkEnvironment

MB = 1_000_000
PLAN = Plan(Kind.PYTHON, python="3.11", requirements_file="r.txt", requirements={"r.txt": "numpy\n"})


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ({"r.txt": "numpy\nPandas[x] >= 2  # new\n"}, {"numpy", "pandas"}),
        ({"r.txt": "-r more.txt\na\n", "more.txt": "b\n"}, {"a", "b"}),
        ({"r.txt": "-c c.txt\na\n", "c.txt": "b<2\n"}, set()),
        ({"r.txt": "numpy\n-r https://example.org/r.txt\n"}, set()),
        ({"r.txt": "numpy\n--pre\n"}, set()),
        ({"r.txt": "numpy\n--index-url https://example.org/simple\n"}, set()),
        ({"r.txt": "numpy==1 --hash=sha256:00\n"}, set()),
        ({"r.txt": "numpy\nx @ https://example.org/x.whl\n"}, set()),
        ({"r.txt": "numpy\nhttps://example.org/x.whl\n"}, set()),
        ({"r.txt": "numpy\ngit+https://example.org/x\n"}, set()),
        ({"r.txt": "numpy\n./own\n"}, set()),
        ({"r.txt": "numpy\n-e .\n"}, set()),
        ({"r.txt": "numpy==${VERSION}\n"}, set()),
        ({"r.txt": "numpy\n" * (stack.MOST_LINES + 1)}, set()),
        ({}, set()),
    ],
)
def test_what_is_asked_for(texts: dict[str, str], names: set[str]) -> None:
    """Names and versions alone are looked at; whatever else a file does is left to the installation."""
    assert stack.names_of(stack.asked_by(replace(PLAN, requirements=texts))) == names


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, kind=Kind.DOCKERFILE),
        replace(PLAN, is_locked=True),
        replace(PLAN, conda=EnvironmentFile("environment.yml")),
    ],
)
def test_plans_without(plan: Plan) -> None:
    """What is not installed from the index's newest wheels has no use for a stack."""
    assert stack.asked_by(plan) == ()


@pytest.mark.parametrize(
    ("sizes", "pins"),
    [
        ({"pandas==2": 12 * MB, "six==1": 11_000, "numpy==2": 17 * MB}, ("numpy==2", "pandas==2")),
        ({"zarr==1": 5 * MB, "awkward==1": 5 * MB, "polars==1": 40 * MB}, ("polars==1", "awkward==1", "zarr==1")),
        ({"torch==2": 800 * MB, "numpy==2": 17 * MB}, ("numpy==2",)),
        ({f"a{n}==1": 90 * MB for n in range(5)}, ("a0==1", "a1==1")),
        ({f"a{n}==1": 5 * MB for n in range(9)}, tuple(f"a{n}==1" for n in range(stack.MOST))),
        ({"numpy==2": 0, "six==1": 0}, ("numpy==2",)),
        ({}, ()),
    ],
)
def test_order(sizes: dict[str, int], pins: tuple[str, ...]) -> None:
    """What most environments have comes first; neither small ones nor huge ones, and not too much together."""
    assert stack.order(sizes) == pins


@pytest.mark.parametrize(
    ("known", "wanted", "pins"),
    [
        ([("a", "b", "c")], "abc", "abc"),
        ([("a", "b", "c")], "abx", "ab"),
        ([("a", "b", "c")], "bc", ""),
        ([("a", "b"), ("a", "b", "d"), ("a", "x")], "abdx", "abd"),
        ([], "a", ""),
        ([("a",)], "", ""),
    ],
)
def test_choose(known: list[tuple[str, ...]], wanted: str, pins: str) -> None:
    """The longest beginning whose packages are all wanted; what is not wanted is never in it."""
    assert stack.choose(known, set(wanted)) == tuple(pins)


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True)), st.sets(st.sampled_from("abcdef")))
def test_what_is_chosen_is_wanted_and_there(known: list[list[str]], wanted: set[str]) -> None:
    """A choice is the beginning of something known, with nothing in it that was not asked for."""
    chosen = stack.choose(known, wanted)
    assert set(chosen) <= wanted
    assert not chosen or stack.covers(known, chosen)


def test_covers() -> None:
    """A stack that begins alike is as good."""
    assert stack.covers([("a", "b")], ("a",))
    assert not stack.covers([("a", "b")], ("b",))
    assert not stack.covers([("a",)], ("a", "b"))


@pytest.mark.parametrize(
    "lock", ["", "{", "[]", "{}", '{"python_packages": 3}', '{"python_packages": ["x --index-url=y", 3, "a==1\\nb"]}']
)
def test_a_forged_lock(lock: str) -> None:
    """What a build step printed becomes pins or nothing."""
    assert stack.pins_of(lock, ()) == ()


def test_pins_of_a_lock() -> None:
    """Pins that the base image has not got; packages from an address are none."""
    lock = json.dumps({"python_packages": ["numpy==2.1", "six==1", "https://example.org/a.whl", "x-y==1+cpu"]})
    assert stack.pins_of(lock, {"six==1"}) == ("numpy==2.1", "x-y==1+cpu")


def test_names_in() -> None:
    """A package for another system is not one of the environment's."""
    asked = stack.asked_by(replace(PLAN, requirements={"r.txt": "numpy\nwheel-for; sys_platform == 'win32'\n"}))
    assert stack.names_in(asked, ["numpy==2", "six==1"]) == {"numpy"}


def test_what_stacks_stand_on() -> None:
    """Another base image, Python, Debian package or index makes another foundation; requirements do not."""
    source = stack.source_of(NetworkEnvironment())
    first = stack.foundation_of("sha256:1", PLAN, source)
    assert first == stack.foundation_of("sha256:1", replace(PLAN, requirements={}), source)
    others = {
        first,
        stack.foundation_of("sha256:2", PLAN, source),
        stack.foundation_of("sha256:1", replace(PLAN, python="3.12"), source),
        stack.foundation_of("sha256:1", replace(PLAN, apt=("curl",)), source),
        stack.foundation_of("sha256:1", PLAN, stack.source_of(NetworkEnvironment(index_url="https://a.invalid"))),
    }
    assert len(others) == 5
    assert stack.key_of(first, ("a", "b")) != stack.key_of(first, ("a",))
