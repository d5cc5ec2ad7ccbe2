"""What the operator may see and do, for the admin socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from binderlet.api.ports import SessionView
from binderlet.app.view import View
from binderlet.sessions.book import Sessions
from binderlet.sessions.keeper import Keeper


@dataclass(frozen=True, slots=True)
class Operations:
    """``api.ports.Operations`` over the parts of a running service."""

    view: View
    book: Sessions
    keeper: Keeper
    end: Callable[[], None]
    """Asks the service to end."""

    def sessions(self) -> Sequence[SessionView]:
        """List the sessions."""
        return self.view.sessions()

    def stop(self, session_id: str) -> Awaitable[None]:
        """End a session."""
        return self.book.stop(session_id, "stopped by the operator", must_exist=True)

    def extend(self, session_id: str, seconds: float) -> Awaitable[float]:
        """Let a session stay longer."""
        return self.keeper.extend(session_id, seconds)

    def shutdown(self) -> None:
        """Ask the service to end, with its sessions."""
        self.end()
