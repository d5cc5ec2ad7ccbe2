"""The cluster that ``scripts/cluster`` runs: for tests and benchmarks where ``KUBECONFIG`` names no other.

Tests that need a cluster come last, so that it can be built while the others run.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "scripts" / "cluster"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binderlet"


class OwnCluster:
    """Brought up when it is first wanted; ``close`` ends it, unless it ran before."""

    def __init__(self) -> None:
        self.missing = ""
        """Why there is none, once that is known."""
        self._is_ours = False
        self._tried = False

    def want(self, *options: str) -> None:
        """Have a cluster that the environment names; or know why there is none."""
        if self._tried or os.environ.get("KUBECONFIG"):
            return
        self._tried = True
        if not self._use():
            self._is_ours = True
            done = subprocess.run([PROGRAM, "up", *options], check=False, capture_output=True, text=True)
            if done.returncode or not self._use():
                self.missing = " ".join(done.stderr.replace("error: ", "").replace("  hint:", "").split())
                self.close()

    def _use(self) -> bool:
        done = subprocess.run([PROGRAM, "env"], check=False, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            name, _, value = shlex.split(line)[1].partition("=")
            os.environ[name] = value
        return done.returncode == 0

    def close(self) -> None:
        """End it, if this began it."""
        if self._is_ours:
            self._is_ours = False
            os.environ.pop("KUBECONFIG", None)
            subprocess.run([PROGRAM, "down"], check=False, capture_output=True)


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
