"""What the operator wants to keep: images, repositories and owners, by name; remembered in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from binderlet.images.retention import Item

log = structlog.get_logger(__name__)


class Pins:
    """The pins of the settings, and those in ``file``. All methods but ``reason`` and ``all`` block on the disk."""

    def __init__(self, file: Path, fixed: Sequence[str] = ()) -> None:
        self._file = file
        self._fixed = tuple(normal(name) for name in fixed)
        self._added: list[str] = []

    @property
    def all(self) -> list[str]:
        """The names, those of the settings first."""
        return [*self._fixed, *self._added]

    def load(self) -> None:
        """Read what an earlier process kept; a file that makes no sense is kept under another name, and logged."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("pins cannot be read", path=str(self._file), error=str(error))
            return
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            self._added = found
            return
        aside = self._file.with_suffix(".unreadable")
        self._file.replace(aside)
        log.warning("the file of pins makes no sense: starting without them", kept_as=str(aside))

    def pin(self, name: str) -> None:
        """Keep images of that name, repository or owner. Idempotent."""
        if normal(name) not in self.all:
            self._added.append(normal(name))
            self._save()

    def unpin(self, name: str) -> bool:
        """Let them go again; False where that pin is not one that was added."""
        if normal(name) not in self._added:
            return False
        self._added.remove(normal(name))
        self._save()
        return True

    def is_fixed(self, name: str) -> bool:
        """Whether a pin comes from the settings."""
        return normal(name) in self._fixed

    def reason(self, item: Item, names: Iterable[str] = ()) -> str:
        """Say which pin keeps an item, which may have more names; empty where none does."""
        own = {normal(name) for name in (item.name, item.repository, item.owner, *names) if name}
        pin = next((pin for pin in self.all if pin in own), "")
        return f"it is pinned: {pin}" if pin else ""

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._added), encoding="utf-8")
        temporary.replace(self._file)


def normal(name: str) -> str:
    """Give one spelling of a name: addresses without their protocol and ``.git``, all in lower case."""
    found = name.strip().lower().rstrip("/")
    for start in ("https://", "http://", "git://", "ssh://"):
        found = found.removeprefix(start)
    return found.removesuffix(".git")
