"""The root helper, in this process, on control groups that are a folder."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from binderlet.deploy.helper.actions import Actions
from binderlet.deploy.helper.server import Server

SAY = "import os, sys; print(sys.argv[1:], sorted(os.environ)); sys.stderr.write('words'); sys.exit(7)"


@contextmanager
def root_helper(root: Path, *, users: set[int] | None = None, daemon: Path | None = None) -> Iterator[str]:
    """Serve until the block ends; gives the socket. What makes base images only says what it was told."""
    with tempfile.TemporaryDirectory(prefix="bl-h-") as folder:
        path = f"{folder}/helper.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen()
            actions = Actions(root, daemon=daemon or root / "daemon.json", bootstrap=(sys.executable, "-c", SAY))
            server = Server(listener, actions, {os.geteuid()} if users is None else users)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            yield path
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)
