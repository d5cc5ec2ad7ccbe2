"""One short question to the running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.cli.ask import ask
from binderlet.config import Settings
from binderlet.errors import ServiceUnavailable
from support.admin_service import AdminService, running


def test_ask(tmp_path: Path) -> None:
    """It gives the JSON, or says that no service runs."""
    settings = Settings.model_validate({"paths": {"state": tmp_path}})
    with running(tmp_path, AdminService()):
        assert ask(settings, "GET", "/status")["sessions"] == 1
    with pytest.raises(ServiceUnavailable):
        ask(settings, "GET", "/status")
