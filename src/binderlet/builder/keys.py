"""Names an environment by all that makes it (pure): two repositories that ask for the same share one image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

BUILDER_VERSION = "2"
"""Raised whenever the same files would give another image."""
KEY_LENGTH = 32


def environment_key(
    *,
    base_id: str,
    platform: str,
    apt: Sequence[str],
    requirements: Mapping[str, str],
    main: str,
    options: Sequence[str] = (),
    conda: Sequence[object] = (),
    builder_version: str = BUILDER_VERSION,
) -> str:
    """Give the key of an environment: 32 lower-case hexadecimal digits.

    ``requirements`` has the text of the requirement files by path; where the first of them, ``main``, lies in the
    repository makes no difference, where the others lie beside it does; nor do comments. ``conda`` has what else
    makes a conda environment.
    """
    folder = main.split("/")[:-1]
    parts: dict[str, object] = {
        "base": base_id,
        "builder": builder_version,
        "platform": platform,
        "apt": sorted(set(apt)),
        "requirements": sorted([_relative(path, folder), _significant(text)] for path, text in requirements.items()),
    }
    if options and requirements:
        parts["options"] = list(options)
    if conda:
        parts["conda"] = list(conda)
    encoded = json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.sha256(encoded).hexdigest()[:KEY_LENGTH]


def _significant(text: str) -> str:
    """Leave out comments and blank lines, unless lines are joined, where these have a meaning."""
    lines = [line.rstrip() for line in text.split("\n")]
    if any(line.endswith("\\") for line in lines):
        return text
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def _relative(path: str, folder: list[str]) -> str:
    """Give a path as seen from a folder; the standard library's way would ask for the working directory."""
    parts = path.split("/")
    common = 0
    while common < min(len(folder), len(parts) - 1) and folder[common] == parts[common]:
        common += 1
    return "/".join([".."] * (len(folder) - common) + parts[common:])


def job_key(image: str) -> str:
    """Give the name of a build job's folder: 24 lower-case hexadecimal digits."""
    return hashlib.sha256(image.encode()).hexdigest()[:24]
