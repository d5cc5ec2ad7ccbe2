"""What the HTTP side needs of the rest."""

from __future__ import annotations

import inspect

import pytest

from binderlet.api import ports
from binderlet.api.ports import BuildView, no_builds
from support.services import SECRET, Stage


@pytest.mark.parametrize(
    ("state", "is_open"), [("waiting", True), ("running", True), ("success", False), ("failure", False)]
)
def test_a_log_grows_while_its_build_is_open(state: str, *, is_open: bool) -> None:
    """A build's log may still grow while it waits or runs."""
    assert BuildView("b", "i", "r", state, 0).is_open is is_open


def test_there_may_be_no_builds() -> None:
    """A service that builds nothing lists nothing."""
    assert no_builds() == ()


def test_the_secret_does_not_print(stage: Stage) -> None:
    """The services' repr, as in a traceback, does not hold the secret."""
    assert SECRET not in repr(stage.services())


def test_every_method_of_a_port_says_what_it_guarantees() -> None:
    """Each method of each protocol has a docstring."""
    for name in ("Launch", "LaunchBook", "Operations", "Asset", "Page", "PageSet"):
        for method, member in vars(getattr(ports, name)).items():
            if not method.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{name}.{method}"
