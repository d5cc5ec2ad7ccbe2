"""Control groups with the root helper."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.clients import cgroups_helped
from binderlet.clients.cgroups import CgroupsUnusable
from binderlet.clients.cgroups_helped import HelpedCgroups
from binderlet.clients.helper import HelperRefused
from support.root_helper import root_helper

ID = "a" * 64


def test_the_helper_reclaims(tmp_path: Path) -> None:
    """The container's memory is pushed out by the helper; this process reads."""
    (tmp_path / "cgroup.controllers").touch()
    group = tmp_path / "docker" / ID
    group.mkdir(parents=True)
    for name, text in (("memory.current", "4096\n"), ("memory.reclaim", ""), ("cpu.stat", "usage_usec 1000000\n")):
        (group / name).write_text(text)
    with root_helper(tmp_path) as path:
        groups = HelpedCgroups(path, tmp_path)
        assert groups.read([ID])[ID].resident == 4096
        groups.reclaim(ID)
        assert groups.why_not() == ""
    assert (group / "memory.reclaim").read_text() == "4096"
    with pytest.raises(OSError, match="does not answer"):
        groups.reclaim(ID)


def test_never_and_not_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is for good; a failure of the kernel is tried again."""

    def refuse(*_: object, **__: object) -> None:
        raise HelperRefused("this kernel cannot")

    monkeypatch.setattr(cgroups_helped, "ask", refuse)
    with pytest.raises(CgroupsUnusable, match="this kernel cannot"):
        HelpedCgroups("x").reclaim(ID)
    monkeypatch.setattr(cgroups_helped, "ask", lambda *_, **__: {"failed": "busy"})
    with pytest.raises(OSError, match="busy"):
        HelpedCgroups("x").reclaim(ID)
