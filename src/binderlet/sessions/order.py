"""What a launch orders from sessions."""

from __future__ import annotations

from dataclasses import dataclass

from binderlet.model import Commit, RepoSpec


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """One session to start; ids, token, command and limits are chosen by ``sessions``."""

    launch_id: str
    spec: RepoSpec
    """As asked for, percent-encoded."""
    commit: Commit
    image: str
    """``repository:tag``."""
    host: str
    """The URL visitors reach this service at, with trailing slash; ``BINDER_LAUNCH_HOST``."""
    client: str = ""
    """The visitor's address; may be empty."""
    image_id: str = ""
    """The engine's content id of the image: a name may lead to another one tomorrow."""
