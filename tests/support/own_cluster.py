"""The cluster that ``scripts/cluster`` runs: for tests and benchmarks where ``KUBECONFIG`` names no other.

Tests that need a cluster come last, so that it can be built while the others run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

PROGRAM = Path(__file__).parents[2] / "scripts" / "cluster"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binderlet"
FOLDER = CACHE / "cluster"
BY_TESTS = FOLDER / "run" / "by-tests"
"""There where tests or benchmarks brought it up."""


class OwnCluster:
    """Brought up when it is first wanted, and ended by the last that used it, unless a person brought it up."""

    def __init__(self) -> None:
        self.missing = ""
        """Why there is none, once that is known."""
        self._users: IO[str] | None = None

    def want(self, *options: str) -> None:
        """Have a cluster that the environment names; or know why there is none."""
        if self.missing or os.environ.get("KUBECONFIG"):
            return
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._users = (FOLDER / "users").open("w")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        if not self._use():
            done = subprocess.run([PROGRAM, "up", *options], check=False, capture_output=True, text=True)
            if BY_TESTS.parent.exists():
                BY_TESTS.touch()
            if not self._use():
                said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
                self.missing = said[-1].removeprefix("error: ") if said else "the test cluster does not come up"
                self.close()

    def _use(self) -> bool:
        done = subprocess.run([PROGRAM, "env"], check=False, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            name, _, value = shlex.split(line)[1].partition("=")
            os.environ[name] = value
        return done.returncode == 0

    def close(self) -> None:
        """Use it no more; end it if nobody else does."""
        if self._users is None:
            return
        os.environ.pop("KUBECONFIG", None)
        with self._users, contextlib.suppress(BlockingIOError):
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if BY_TESTS.exists():
                subprocess.run([PROGRAM, "down"], check=False, capture_output=True)
        self._users = None


OWN = OwnCluster()


@contextmanager
def own_cluster() -> Iterator[str]:
    """Have a cluster, built first where need be; gives why there is none."""
    OWN.want()
    try:
        yield OWN.missing
    finally:
        OWN.close()


# Hooks that tests/conftest.py gives to pytest.


def pytest_configure() -> None:
    """Find the programs that were fetched for the tests, such as helm."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{CACHE / 'bin'}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that need a cluster last."""
    items.sort(key=lambda item: item.get_closest_marker("kube") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have the cluster before the first test that needs it begins, as its time does not count for that test."""
    if item.get_closest_marker("kube") is not None:
        OWN.want("--no-build")
    return (yield)


def pytest_sessionfinish() -> None:
    """End the cluster."""
    OWN.close()
