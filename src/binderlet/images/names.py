"""Names images as BinderHub does (pure), so that members of a federation can copy them to each other.

The name does not tell which version of the builder made an image, nor on which base. An image that an older builder
made is present all the same: it goes on being used until it is removed, as it would be by BinderHub; its labels tell.
"""

from __future__ import annotations

import hashlib
import string

import escapism  # type: ignore[import-untyped]  # it is older than type hints

SAFE = frozenset(string.ascii_letters + string.digits)
LIMIT = 255
"""Longest name, without the tag, that a registry takes."""
HASH_LENGTH = 6


def image_name(prefix: str, slug: str, ref: str) -> str:
    """Give ``repository:tag`` of the image for one commit; equal for equal arguments, wherever it is computed."""
    return f"{prefix}{safe_slug(slug, LIMIT - len(prefix))}:{ref}".replace("_", "-").lower()


def safe_slug(slug: str, limit: int) -> str:
    """Escape what registries refuse, cut to ``limit`` characters, and keep slugs apart by a piece of their hash."""
    digest = hashlib.sha256(slug.encode()).hexdigest()[:HASH_LENGTH]
    escaped = escapism.escape(slug, safe=SAFE, escape_char="-")
    return f"{escaped[: limit - HASH_LENGTH - 1]}-{digest}".lower()
