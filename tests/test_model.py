"""The values that the steps of a launch hand to each other."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from binderlet import model
from binderlet.model import Phase, RepoSpec, known

VALUES = [value for _, value in inspect.getmembers(model, dataclasses.is_dataclass) if inspect.isclass(value)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_are_frozen_and_documented(value: type) -> None:
    """Every value is frozen, has no stray attributes, and says what it is."""
    parameters = value.__dataclass_params__  # type: ignore[attr-defined] # every dataclass has it
    assert parameters.frozen
    assert "__slots__" in value.__dict__
    assert value.__doc__


def test_final_phases() -> None:
    """Only 'ready' and 'failed' end a launch."""
    assert [phase for phase in Phase if phase.is_final] == [Phase.READY, Phase.FAILED]


def test_phases_are_those_of_binderhub() -> None:
    """The phases have the names that BinderHub's clients know."""
    assert {str(phase) for phase in Phase} == {
        "waiting", "fetching", "building", "pushing", "built", "launching", "ready", "failed",
    }  # fmt: skip


def test_spec_reads_as_in_the_url() -> None:
    """A spec prints as the end of its URL."""
    assert str(RepoSpec("git", "https%3A%2F%2Fexample.org%2Fr/main")) == "git/https%3A%2F%2Fexample.org%2Fr/main"


def test_fields_of_a_newer_program_are_left_out() -> None:
    """What was kept by a program with more fields, or fewer, gives those that are known here."""
    assert known(RepoSpec, {"provider": "gh", "spec": "o/r", "added": 1}) == {"provider": "gh", "spec": "o/r"}
    assert known(RepoSpec, {"provider": "gh"}) == {"provider": "gh"}
