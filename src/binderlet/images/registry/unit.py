"""The registry as a systemd unit: systemd starts it, and starts it anew when it has ended.

The unit runs as the control plane's user, so that this may end it when its settings have changed.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from pathlib import Path

import structlog

from binderlet.config.registry import S3Settings
from binderlet.errors import ImagesUnavailable
from binderlet.images.registry.distribution import RegistryProcess

log = structlog.get_logger(__name__)

NAME = "binderlet-registry.service"
ENVIRONMENT = "environment"
"""Read by the unit."""
START_PATIENCE = 30.0
"""Seconds in which systemd must have started it."""
POLL = 0.05
CREDENTIALS = struct.Struct("3i")
"""What the kernel tells of the other end of a unix socket: process, user, group."""


class RegistryUnit(RegistryProcess):
    """Stands where ``RegistryProcess`` does, for one that systemd runs."""

    def __init__(
        self, folder: Path, settings: S3Settings, *, ca_bundle: Path | None = None, patience: float = START_PATIENCE
    ) -> None:
        super().__init__(folder, settings, ca_bundle=ca_bundle)
        self._patience = patience

    def write_config(self) -> bool:
        """Write configuration and environment; whether they are others than before. Blocks."""
        changed = super().write_config()
        trust = f"SSL_CERT_FILE={self._ca_bundle}\n" if self._ca_bundle else ""
        path = self.folder / ENVIRONMENT
        if path.exists() and path.read_text(encoding="utf-8") == trust:
            return changed
        path.write_text(trust, encoding="utf-8")
        return True

    def _ensure(self) -> bool:
        changed = self.write_config()
        self._shorten_log()
        pid = self._listener()
        if pid is not None and not changed:
            return False
        if pid is not None:
            log.info("the registry's settings have changed: it is started anew")
            os.kill(pid, signal.SIGTERM)
        self._wait(other_than=pid)
        return True

    def _wait(self, other_than: int | None) -> None:
        """Return when systemd has started it, again where it ran."""
        deadline = time.monotonic() + self._patience
        while (pid := self._listener()) is None or pid == other_than:
            if time.monotonic() > deadline:
                hint = f"journalctl -u {NAME} says why."
                raise ImagesUnavailable(f"docker-registry does not run. It says: {self.last_words()}", hint=hint)
            time.sleep(POLL)

    def _listener(self) -> int | None:
        """Give the process that listens on the socket; None where nothing does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return None
            told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        pid: int = CREDENTIALS.unpack(told)[0]
        return pid

    def _end(self) -> None:
        """Leave it running: it is systemd's."""
