"""What the chart needs, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from binderlet.deploy import own_image
from binderlet.deploy.install import release
from support.command import Command


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)


def test_values(command: Command, tmp_path: Path) -> None:
    """The same values each time, with this machine's own secret where the settings have none."""
    arguments = ("k3s", "values", "--image", "r/i:2")
    assert command(*arguments) == 0
    first = command.out
    found = yaml.safe_load(first)["controlPlane"]
    assert found["image"] == "r/i:2"
    kept = (tmp_path / "build-token-secret").read_text()
    assert found["secrets"] == {"BINDERLET_SECURITY__BUILD_TOKEN_SECRET": kept}
    assert command(*arguments) == 0
    assert command.out == first


def test_image(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This release, or the wheel that is given, is put into an image of the name."""
    made: list[tuple[Any, ...]] = []

    def make(release: object, _network: object, name: str, target: Path, *, sources: list[str]) -> str:
        made.append((release, name, target))
        return "sha256:0123456789abcdef"

    monkeypatch.setattr(own_image, "make", make)
    monkeypatch.setattr(release, "this_release", lambda _folder, wheel: wheel)
    (tmp_path / "w.whl").touch()
    assert command("k3s", "image", "out.tar", "--name", "b:3", "--wheel", "w.whl") == 0
    assert made == [(Path("w.whl"), "b:3", Path("out.tar"))]
    assert "out.tar: b:3" in command.out
