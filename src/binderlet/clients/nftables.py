"""Puts tables of nftables into force and takes them away, by the program ``nft``; everything here blocks.

The root helper uses this too, so it needs nothing but the standard library.
"""

from __future__ import annotations

import os
import shutil
import subprocess

TIMEOUT = 20.0
"""Seconds for one command."""


class NftablesUnusable(Exception):
    """The rules are not in force; the message is the end of a sentence."""


def ensure(table: str, mark: str, script: str) -> bool:
    """Run the script unless the table has the chain ``mark`` already; gives whether it was run.

    Raises:
        NftablesUnusable: the program is not installed, or does not do it.
    """
    if _nft("list", "chain", "inet", table, mark).returncode == 0:
        return False
    done = _nft("-f", "-", given=script)
    if done.returncode != 0:
        raise NftablesUnusable(f"nft said: {_first_line(done.stderr)}")
    return True


def remove(table: str) -> None:
    """Take a table away. Idempotent.

    Raises:
        NftablesUnusable: the program is not installed, or does not do it.
    """
    # Named first, a table that is not there is made, and then removed as any other.
    done = _nft("-f", "-", given=f"table inet {table}\ndelete table inet {table}\n")
    if done.returncode != 0:
        raise NftablesUnusable(f"nft said: {_first_line(done.stderr)}")


def _nft(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    # Not on every user's search path.
    program = shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        raise NftablesUnusable("nft is not installed (apt-get install nftables)")
    if os.geteuid() != 0:
        raise NftablesUnusable("this process is not root")
    try:
        return subprocess.run(
            [program, *arguments], input=given, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NftablesUnusable(f"nft did not answer within {TIMEOUT:g} s") from None


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[0]
