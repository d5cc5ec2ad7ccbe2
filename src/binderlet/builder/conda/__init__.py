"""conda environments without conda: read the file (pure), solve and download here, link inside the build.

Packages are strangers' archives. This machine only reads the channels' lists and stores the archives, each checked by
its hash; they are unpacked and linked in the build's container. Addresses and passwords of mirrors stay here.
"""

from __future__ import annotations

from pathlib import Path


def solve_program_path() -> Path:
    """Give the program that runs on this machine; importing it would load the solver."""
    return Path(__file__).with_name("solve_program.py")


def link_program_path() -> Path:
    """Give the program that runs inside builds."""
    return Path(__file__).with_name("link_program.py")
