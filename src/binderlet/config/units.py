"""Human units in settings: ``10m`` is 600 seconds, ``2G`` is 2 * 1024**3 bytes."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse_duration(value: object) -> object:
    """Turn ``"90s"``, ``"10m"``, ``"6h"`` or ``"7d"`` into seconds; leave numbers as they are."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip())
    if found is None:
        raise ValueError(f"{value!r} is not a duration; write 90s, 10m, 6h or 7d")
    return float(found[1]) * SECONDS[found[2]]


def parse_bytes(value: object) -> object:
    """Turn ``"512M"`` or ``"2G"`` into bytes (powers of 1024); leave numbers as they are."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", value.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{value!r} is not a size; write 512M or 2G")
    return int(Decimal(found[1]) * BYTES[found[2].upper()])


def format_duration(seconds: float) -> str:
    """Write seconds in the largest unit that divides them: ``"10m"``."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % SECONDS[unit] == 0:
            return f"{int(seconds // SECONDS[unit])}{unit}"
    return f"{seconds:g}s"


def format_bytes(size: int) -> str:
    """Write bytes in the largest unit that divides them: ``"2G"``."""
    for unit in ("T", "G", "M", "K"):
        if size and size % BYTES[unit] == 0:
            return f"{size // BYTES[unit]}{unit}"
    return str(size)


Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")]
ByteSize = Annotated[int, BeforeValidator(parse_bytes), PlainSerializer(format_bytes, when_used="json")]
