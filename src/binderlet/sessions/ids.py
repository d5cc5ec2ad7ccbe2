"""Names and secrets of sessions and launches."""

from __future__ import annotations

import re
import secrets
from urllib.parse import unquote

LONGEST_NAME = 32
RANDOM_CHARACTERS = 12
"""62 bits: a session's id cannot be guessed."""
URL_HOST = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)
"""What stands before a URL's path; ``git@host:owner/repo`` has none."""
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_session_id(repo_url: str) -> str:
    """Make an id in BinderHub's style, of the repository's path and a random end: ``[a-z0-9-]``, at most 45."""
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return f"{repo_name(repo_url)}-{random}"


def repo_name(repo_url: str) -> str:
    """Give the readable part of an id: the repository's path in ``[a-z0-9-]``, at most 32 characters."""
    path = URL_HOST.sub("", repo_url) if URL_HOST.match(repo_url) else repo_url.rpartition(":")[2]
    path = re.split(r"[?#]", path)[0]
    name = re.sub(r"[^a-z0-9]+", "-", unquote(path).strip("/").removesuffix(".git").lower()).strip("-")
    if len(name) > LONGEST_NAME:
        name = f"{name[:15].rstrip('-')}-{name[-15:].lstrip('-')}"
    return name or "repo"


def new_token() -> str:
    """Make a session's token: 192 random bits, safe in URLs."""
    return secrets.token_urlsafe(24)


def new_launch_id() -> str:
    """Make a launch's id: 128 random bits, as who knows it may read the session's token."""
    return secrets.token_hex(16)
