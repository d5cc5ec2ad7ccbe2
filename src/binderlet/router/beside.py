"""A HAProxy that somebody else runs, in a container of its own that shares its folder with us.

It is started there by ``haproxy -W -S unix@master.sock,mode,600 -f haproxy.cfg`` once the configuration is there, and
again whenever it ends; so that it outlives the control plane's container.
"""

from __future__ import annotations

import asyncio
import contextlib

from binderlet.clients.haproxy import HAProxyMaster
from binderlet.errors import RouterUnavailable
from binderlet.router.config import MASTER_SOCKET
from binderlet.router.process import HAProxyProcess

LOOK_EVERY = 0.1


class HAProxyBeside(HAProxyProcess):
    """Waits for it, and reloads it by its master's socket; never starts or ends it."""

    async def start(self, *, patience: float = 0.0) -> None:
        """Return once it answers.

        Raises:
            RouterUnavailable: it does not in time.
        """
        master = HAProxyMaster(self.folder / MASTER_SOCKET)
        try:
            async with asyncio.timeout(self._timeout + patience):
                while not await _answers(master):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError as error:
            raise RouterUnavailable(
                f"No HAProxy answers in {self.folder}.", hint="Does its container run? Its log says why not."
            ) from error

    async def reload(self) -> bool:
        """Ask it to read its files again, keeping open connections; False if none answers."""
        try:
            await HAProxyMaster(self.folder / MASTER_SOCKET).ask("reload")
        except RouterUnavailable:
            return False
        return True

    async def end(self) -> None:
        """Leave it: its container is somebody else's."""

    async def retire(self) -> bool:
        """Leave it, and say that none was asked to go."""
        return False

    async def port_holder(self) -> str:
        """Name nobody: other containers' programs cannot be seen."""
        return ""


async def _answers(master: HAProxyMaster) -> bool:
    with contextlib.suppress(RouterUnavailable):
        return bool(await master.processes())
    return False
