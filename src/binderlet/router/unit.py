"""HAProxy as a systemd unit: systemd starts, restarts and ends it; its configuration is changed over its master socket.

Neither side needs rights over the other's process: both are in one group, which owns the folder with the sockets.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from binderlet.clients.haproxy import HAProxyMaster
from binderlet.errors import RouterUnavailable
from binderlet.router.beside import HAProxyBeside
from binderlet.router.config import MASTER_SOCKET
from binderlet.router.process import HAProxyProcess

NAME = "binderlet-haproxy.service"
START_PATIENCE = 60.0
"""Seconds in which systemd must have started it, or started it again."""
POLL = 0.1


class HAProxyUnit(HAProxyBeside):
    """Waits for the one of systemd, and reloads it; never starts or ends it."""

    def __init__(self, folder: Path, *, host: str, port: int, timeout: float = START_PATIENCE) -> None:
        super().__init__(folder, host=host, port=port, timeout=timeout)
        self._master = HAProxyMaster(self.folder / MASTER_SOCKET)

    async def start(self, *, patience: float = 0.0) -> None:
        """Wait until systemd has started it, and let it read its files: it may have begun with older ones.

        Raises:
            RouterUnavailable: it is not there in time.
        """
        deadline = time.monotonic() + self._timeout + patience
        while not await self.reload():
            if time.monotonic() > deadline:
                raise RouterUnavailable(
                    f"HAProxy does not run, and {NAME} must start it.", hint=f"journalctl -u {NAME} says why."
                )
            await asyncio.sleep(POLL)

    async def reload(self) -> bool:
        """Ask it to read its files again, keeping open connections; False if it does not answer."""
        try:
            # A master that has just started takes orders only when it knows its workers.
            await self._master.processes()
        except RouterUnavailable:
            return False
        return await super().reload()

    async def port_holder(self) -> str:
        """Name a program other than ours that listens on the port; empty if there is none to be seen."""
        return await HAProxyProcess.port_holder(self)
