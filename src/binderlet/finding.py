"""One thing that was checked, on a machine or on a member of a federation, with its mend."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    check: str
    level: Level
    seen: str
    mend: str = ""
    """A command or a setting; empty where nothing needs mending."""

    def as_dict(self) -> dict[str, str]:
        """Give it for JSON."""
        return asdict(self)
