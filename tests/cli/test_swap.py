"""``binderlet swap``; what it does to a machine is tested with ``deploy/swap_setup.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.deploy import swap_setup
from binderlet.deploy.swap import Disk, SwapPlan
from support.command import Command

GIB = 1024**3


class FakeSetup:
    """Remembers what it was asked."""

    plans: list[SwapPlan]
    is_ours = False

    def has_zram(self) -> bool:
        """There is zram."""
        return True

    def setup(self, plan: SwapPlan) -> None:
        """Remember the plan."""
        type(self).plans.append(plan)

    def areas(self) -> list[tuple[str, int]]:
        """Give one."""
        return [("/dev/zram0", GIB)]

    def ours(self) -> dict[str, object] | None:
        """Give it as told."""
        return {} if self.is_ours is False else {"zram": 0}

    def off(self) -> bool:
        """Say whether something was."""
        return self.is_ours


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on a machine with one disk."""
    monkeypatch.chdir(tmp_path)
    FakeSetup.plans = []
    monkeypatch.setattr(FakeSetup, "is_ours", False)
    monkeypatch.setattr(swap_setup, "SwapSetup", FakeSetup)
    monkeypatch.setattr(swap_setup, "disks", lambda: [Disk("/", 40 * GIB, rotates=False)])
    return Command(tmp_path, capsys)


def test_setup(command: Command) -> None:
    """It says what was made, or what would be."""
    assert command("swap", "setup", "--zram", "1G", "--file", "2G", "--dry-run", state=False) == 0
    assert command.out == "Would make zram of 1.0 GB and /binderlet.swap of 2.0 GB.\n"
    assert FakeSetup.plans == []
    assert command("swap", "setup", "--zram", "1G", "--file", "0", state=False) == 0
    assert command.out == "Made zram of 1.0 GB and no file.\n"
    assert FakeSetup.plans == [SwapPlan(GIB, 0, "")]
    assert command("swap", "setup", "--zram", "much", state=False) == 2


def test_status_and_off(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is, whose it is, and whether there was something to take away."""
    assert command("swap", "status", state=False) == 0
    assert command.out.splitlines()[0] == "/dev/zram0: 1.0 GB"
    assert command.out.splitlines()[2] == "nothing was set up by binderlet"
    assert command("swap", "off", state=False) == 0
    assert command.out == "Nothing was set up by binderlet.\n"
    monkeypatch.setattr(FakeSetup, "is_ours", True)
    assert command("swap", "off", state=False) == 0
    assert command.out == "Swap is as it was.\n"
    assert command("swap", "status", state=False) == 0
    assert command.out.splitlines()[2] == "set up by binderlet"
