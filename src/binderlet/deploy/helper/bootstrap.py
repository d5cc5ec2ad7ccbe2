"""Becomes mmdebstrap, which writes the Debian part of a base image to the standard output: ``SUITE LINE...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from binderlet.builder.base_recipe import KEYRING, PACKAGES, PACKAGES_OF, mmdebstrap_command


def command(suite: str, lines: Sequence[str]) -> list[str]:
    """Give the command; its packages are those of this release's base image, whoever asks."""
    keyring = KEYRING if Path(KEYRING).exists() else ""
    return mmdebstrap_command(suite, (*PACKAGES, *PACKAGES_OF.get(suite, ())), lines, keyring=keyring)


if __name__ == "__main__":
    words = command(sys.argv[1], sys.argv[2:])
    os.execvp(words[0], words)  # noqa: S606 - no shell
