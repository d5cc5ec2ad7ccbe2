"""Names that keep the package caches of builds apart."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path


class Namespaces:
    """Secret names for caches, which no repository can guess; the secret is kept in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secret = ""

    def load(self) -> None:
        """Read the secret, made where there is none. Idempotent; blocks on the disk."""
        self._secret = self._secret or _read_or_make(self._path)

    @property
    def shared(self) -> str:
        """What all builds share; only steps that run no foreign code may have it."""
        return self._secret

    def of_owner(self, owner: str) -> str:
        """Give the name for what a repository's own code can write: apart from ours and from other owners'."""
        return hashlib.sha256(f"{self._secret} {owner}".encode()).hexdigest()[:32]


def _read_or_make(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        secret = secrets.token_hex(16)
        path.touch(mode=0o600)
        path.write_text(secret, encoding="utf-8")
        return secret
