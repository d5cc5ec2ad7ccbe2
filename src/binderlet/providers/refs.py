"""Pure: what a ref's name may be, and which of a repository's refs it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from binderlet.errors import BadSpec

_FULL_SHA: Final = re.compile(r"[0-9a-fA-F]{40}")
_SHORT_SHA: Final = re.compile(r"[0-9a-fA-F]{4,39}")
# the rules of git check-ref-format
_IMPOSSIBLE: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|/$|\.$|(?:^|/)\.|\.lock(?:/|$)|^@$")
_LONGEST: Final = 1024


def is_full_sha(ref: str) -> bool:
    """Whether it is a whole commit id, which needs no look-up."""
    return _FULL_SHA.fullmatch(ref) is not None


def is_short_sha(ref: str) -> bool:
    """Whether it may be the beginning of a commit id."""
    return _SHORT_SHA.fullmatch(ref) is not None


def check_ref(ref: str) -> None:
    """Check that git could have a ref of this name.

    Raises:
        BadSpec: it could not.
    """
    if not ref or len(ref) > _LONGEST or _IMPOSSIBLE.search(ref):
        raise BadSpec(f"{ref[:100]!r} cannot be the name of a branch, tag or commit.")


def candidates(ref: str) -> tuple[str, ...]:
    """List the full names a ref may have, best first: a branch wins over a tag, as for ``git checkout``."""
    if ref == "HEAD" or ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}")


def find(ref: str, advertised: Mapping[str, str]) -> str | None:
    """Find the commit that a ref means among a repository's (full name to object id, ``^{}`` for peeled tags)."""
    for name in candidates(ref):
        if sha := advertised.get(f"{name}^{{}}") or advertised.get(name):
            return sha
    return None
