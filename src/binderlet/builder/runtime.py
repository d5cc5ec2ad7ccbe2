"""Reads ``runtime.txt``: a language, its version, a date (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from binderlet.errors import BadRepository

NAME, NAME_AND_DATE, ALL = 2, 4, 5
"""How many parts between dashes each form has."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a ``runtime.txt`` says; all empty where there is none."""

    name: str = ""
    """``python``, ``r``, or something that is known nowhere."""
    version: str = ""
    day: str = ""
    """``yyyy-mm-dd``."""


def parse_runtime(text: str, path: str) -> Runtime:
    """Read ``name-version``, ``name-version-yyyy-mm-dd`` or ``name-yyyy-mm-dd``.

    Raises:
        BadRepository: it is of none of these forms.
    """
    text = text.strip()
    parts = text.split("-")
    wrong = f"{path}, line 1: {text!r} is not of the form python-3.11."
    if not all(parts) or len(parts) not in {NAME, NAME_AND_DATE, ALL}:
        raise BadRepository(wrong)
    version = parts[1] if len(parts) != NAME_AND_DATE else ""
    day = "-".join(parts[-3:]) if len(parts) != NAME else ""
    if day and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) is None:
        raise BadRepository(wrong)
    try:
        if day:
            date.fromisoformat(day)
    except ValueError as error:
        raise BadRepository(f"{path}, line 1: {day} is not a date.") from error
    return Runtime(parts[0], version, day)
