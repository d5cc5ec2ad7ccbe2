"""Which standbys were adopted, by which launch: one small file each, so that a restart knows them as ordinary sessions.

The engine's labels cannot change after a container's start, so this is what they cannot say. Whether such a session
runs is still for the engine alone to say.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from binderlet.model import Session, known

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Adoption:
    """One launch took one standby."""

    launch_id: str
    at: float
    """Seconds since the epoch: for its visitor, the session began then."""

    def of(self, standby: Session) -> Session:
        """Give the standby as its launch's session."""
        return replace(standby, launch_id=self.launch_id, created_at=self.at)


class AdoptionFiles:
    """A folder with a file for each adopted session. Every method blocks for the time of a small file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> dict[str, Adoption]:
        """Read all; what cannot be read is left out, so that its session counts as a standby."""
        found = {}
        for path in self._folder.glob("*.json"):
            try:
                found[path.stem] = Adoption(**known(Adoption, json.loads(path.read_text())))
            except (OSError, ValueError, TypeError) as error:
                log.warning("an adoption cannot be read", file=str(path), error=str(error))
        return found

    def save(self, session_id: str, adoption: Adoption) -> None:
        """Keep one; it survives the end of this process.

        Raises:
            OSError: the disk does not take it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{session_id}.new"
        temporary.write_text(json.dumps(asdict(adoption)))
        temporary.replace(self._folder / f"{session_id}.json")

    def remove(self, session_id: str) -> None:
        """Forget one. Idempotent."""
        (self._folder / f"{session_id}.json").unlink(missing_ok=True)
