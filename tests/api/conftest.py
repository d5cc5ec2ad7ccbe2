"""The HTTP side over a fake service."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette

from binderlet.api.routes import create_admin_app, create_app
from support.services import Stage


@pytest.fixture
def stage() -> Stage:
    """What lies behind the URLs."""
    return Stage()


@pytest.fixture
def app(stage: Stage) -> Starlette:
    """The public service."""
    return create_app(stage.services())


@pytest.fixture
def admin(stage: Stage) -> Starlette:
    """The operator's service."""
    return create_admin_app(stage.services())
