"""The whole service with real parts: HAProxy, Docker, git, and Chromium where a test has a browser."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from support.gitserver import Files, GitServer
from support.service import Forge, LiveService, Serve, git_spec, remove_images
from support.visit import Visit


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """A git server for all tests."""
    with tempfile.TemporaryDirectory(prefix="bl-git-") as folder, GitServer(Path(folder)) as server:
        yield Forge(Path(folder), server)


@pytest.fixture(scope="session")
def serve(forge: Forge) -> Serve:
    """Run a service with these settings: ``serve(cull__idle=5)``; its images and files go with it."""

    @contextmanager
    def run(**settings: object) -> Iterator[LiveService]:
        name = f"e2e-{uuid4().hex[:8]}"
        # Not in pytest's folder: the paths of unix sockets must be short.
        with tempfile.TemporaryDirectory(prefix="bl-") as folder:
            service = LiveService(Path(folder) / "s", name=name)
            # No standbys: the tests count sessions.
            service.set(standby__enabled=False, builder__image_prefix=f"{name}/i-")
            service.set(providers__gh__base_url=forge.server.base, **settings)
            try:
                with service:
                    yield service
            finally:
                remove_images(f"{name}/*")

    return run


@pytest.fixture(scope="session")
def service(serve: Serve) -> Iterator[LiveService]:
    """One service with default settings for all tests that do not need their own."""
    with serve() as running:
        yield running


@pytest.fixture
def launch(service: LiveService, forge: Forge) -> Iterator[Callable[[Files], Visit]]:
    """Launch a new repository with these files and give its session, which ends with the test."""
    visits: list[Visit] = []

    def run(files: Files) -> Visit:
        _, url = forge.repository(files)
        visits.append(Visit(service.ready(git_spec(url), timeout=300)))
        return visits[-1]

    yield run
    for visit in visits:
        service.admin("DELETE", f"/sessions/{visit.id}")
