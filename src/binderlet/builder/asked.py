"""A build's supervisor as systemd starts it for a connection: ``ROOT``; the first line that comes names the folder."""

from __future__ import annotations

import os
import sys

from binderlet.builder import supervisor

LONGEST = 4096
WRONG = 2


def main(root: str, source: int = 0) -> int:
    """Run the job of the folder, which must be below ``root`` and this user's own; gives the exit code."""
    line = os.read(source, LONGEST)
    folder = os.path.realpath(line.decode("utf-8", "replace").strip())
    if not folder.startswith(f"{os.path.realpath(root)}/") or not os.path.isdir(folder):  # noqa: PTH112
        return WRONG
    if os.stat(folder).st_uid != os.geteuid():  # noqa: PTH116
        return WRONG
    os.chdir(folder)
    # Who asked reads until its end of the connection is closed.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, source)
    os.close(nothing)
    return supervisor.main(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
