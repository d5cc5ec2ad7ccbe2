"""What does the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.app.machinery import make_providers, real_machinery
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment


def test_providers_can_be_switched_off(tmp_path: Path) -> None:
    """Only the repo providers that are enabled are offered."""
    assert list(make_providers(Settings(), NetworkEnvironment(), tmp_path)) == ["gh", "git"]
    off = Settings.model_validate({"providers": {"gh": {"enabled": False}, "git": {"enabled": False}}})
    assert make_providers(off, NetworkEnvironment(), tmp_path) == {}


@pytest.mark.docker
async def test_the_real_machinery_says_what_it_is(tmp_path: Path) -> None:
    """With a real engine the service says which engine and build tool it uses."""
    machinery = await real_machinery(Settings(), NetworkEnvironment(), tmp_path)
    assert "BuildKit" in machinery.description or "podman" in machinery.description
    await machinery.close()
    await machinery.engine.close()
