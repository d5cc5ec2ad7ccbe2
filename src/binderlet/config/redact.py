"""Masks secrets in text that is shown or logged."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "**********"
USER_INFORMATION = re.compile(r"(?<=://)[^/?#\s'\"@]+(?=@)")
PARAMETERS = re.compile(r"([?&](?:token|build_token|access_token|password|secret)=)[^&#\s'\"]+")
HEADERS = re.compile(r"(?i)((?:authorization|private-token)['\"]?\s*[:=]\s*['\"]?(?:bearer|token|basic)?\s*)[^\s'\",]+")


def redact_urls(text: str) -> str:
    """Mask user names and passwords, and tokens in query strings, of all URLs in a text."""
    return PARAMETERS.sub(rf"\1{MASK}", USER_INFORMATION.sub(MASK, text))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask what URLs and authorization headers give away, and each of the secrets wherever it occurs."""
    text = HEADERS.sub(rf"\1{MASK}", redact_urls(text))
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    return text
