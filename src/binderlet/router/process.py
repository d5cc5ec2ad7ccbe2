"""The HAProxy process: started in a session of its own so that it outlives us, found again by its pid file.

Its folder holds the configuration, the pages, the routes, the sockets and the pid file; HAProxy runs in it. A worker
that dies takes its master with it and the other way round, so the data path is either whole or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import stat
import tempfile
import time
from pathlib import Path
from typing import IO

import psutil
import structlog

from binderlet.errors import AddressInUse, BinderletError, MissingProgram, RouterUnavailable
from binderlet.router.config import MASTER_SOCKET, SOCKET

log = structlog.get_logger(__name__)

PROGRAM = "haproxy"
SEARCH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian puts HAProxy, and where a plain user's PATH does not look."""
START_TIMEOUT = 20.0
"""Seconds for one run of the program until it has forked, on a busy machine."""
STOP_TIMEOUT = 5.0
"""Seconds between asking HAProxy to end and ending it."""
TAKEN = "Address already in use"
NOISE = re.compile(r"^\[(NOTICE|WARNING|ALERT)\]\s+\(\d+\) : ")


class HAProxyProcess:
    """Starts, reloads and ends the HAProxy of one folder."""

    def __init__(self, folder: Path, *, host: str, port: int, timeout: float = START_TIMEOUT) -> None:
        self.folder = folder.absolute()
        self.config = self.folder / "haproxy.cfg"
        self._pid_file = self.folder / "haproxy.pid"
        self._host, self._port = host, port
        self._timeout = timeout

    async def check(self) -> None:
        """Let HAProxy read the configuration.

        Raises:
            MissingProgram: HAProxy is not installed.
            RouterUnavailable: it refuses the configuration, in its own words.
        """
        code, words = await self._run("-c")
        if code:
            raise RouterUnavailable(f"HAProxy refuses its configuration. It says: {words}")

    async def start(self, *, patience: float = 0.0) -> None:
        """Start HAProxy in the background and return when it listens; a taken port may become free for so many seconds.

        Raises:
            MissingProgram: HAProxy is not installed.
            AddressInUse: the port is taken.
            RouterUnavailable: it does not start, in its own words.
        """
        arguments = ("-W", "-D", "-S", f"unix@{MASTER_SOCKET},mode,600", "-p", self._pid_file.name)
        deadline = time.monotonic() + patience
        code, words = await self._run(*arguments)
        while code and TAKEN in words and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            code, words = await self._run(*arguments)
        if code:
            raise await asyncio.to_thread(self._start_error, words)
        if words:
            log.info("HAProxy started", says=words)

    async def reload(self) -> bool:
        """Ask the running HAProxy to read its files again, keeping open connections; False if none runs."""
        return await asyncio.to_thread(self._signal, signal.SIGUSR2)

    async def end(self) -> None:
        """End HAProxy if it runs, and wait until it has. Idempotent."""
        await asyncio.to_thread(self._end)

    async def retire(self) -> bool:
        """Let the running HAProxy leave the port and end once its open connections have; False if none runs."""
        return await asyncio.to_thread(self._signal, signal.SIGUSR1)

    async def port_holder(self) -> str:
        """Name a program other than ours that listens on the port; empty if there is none to be seen."""
        return await asyncio.to_thread(port_holder, self._port, str(self.config))

    async def _run(self, *arguments: str) -> tuple[int, str]:
        program = await asyncio.to_thread(find_program, PROGRAM)
        # A file, not a pipe: the daemon may keep what it got as standard error open for as long as it lives.
        with await asyncio.to_thread(tempfile.TemporaryFile) as said:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                "-f",
                str(self.config),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self._timeout):
                    code = await process.wait()
            except TimeoutError as error:
                process.kill()
                await process.wait()
                raise RouterUnavailable(f"{program} did not come up in {self._timeout:g} s.") from error
            return code, own_words(await asyncio.to_thread(_read_from_start, said))

    def _start_error(self, words: str) -> BinderletError:
        if TAKEN in words:
            holder = port_holder(self._port, str(self.config)) or "another program"
            return AddressInUse(f"Port {self._port} on {self._host} is taken by {holder}.")
        hint = "Ports below 1024 need root; choose another with server.port."
        return RouterUnavailable(
            f"HAProxy does not start. It says: {words}", hint=hint if "Permission denied" in words else ""
        )

    def _signal(self, number: signal.Signals) -> bool:
        """Signal the master of the pid file; a pid that now belongs to something else is not it."""
        try:
            master = psutil.Process(int(self._pid_file.read_text(encoding="ascii")))
        except (FileNotFoundError, ValueError, psutil.Error):
            return False
        return self._is_ours(master) and _send(master, number)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            named = process.name() == PROGRAM and process.status() != psutil.STATUS_ZOMBIE
            return named and str(self.config) in process.cmdline()
        except psutil.Error:
            return False

    def _end(self) -> None:
        if not self._gone_after(signal.SIGTERM):
            log.warning("HAProxy did not end when asked to", seconds=STOP_TIMEOUT)
            self._gone_after(signal.SIGKILL)
        for name in (self._pid_file.name, MASTER_SOCKET, SOCKET):
            (self.folder / name).unlink(missing_ok=True)

    def _gone_after(self, number: signal.Signals) -> bool:
        """Signal every process of ours, those that one forks meanwhile too, and wait until none is left."""
        deadline = time.monotonic() + STOP_TIMEOUT
        told: set[int] = set()
        # By command line, not by pid file: one that was retired has none, and a pid file can be lost.
        while ours := [process for process in psutil.process_iter() if self._is_ours(process)]:
            if time.monotonic() > deadline:
                return False
            for process in ours:
                if process.pid not in told:
                    _send(process, number)
                    told.add(process.pid)
            time.sleep(0.02)
        return True


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


def find_program(name: str) -> str:
    """Find a program on PATH or where system programs are.

    Raises:
        MissingProgram: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(SEARCH))
    if found is None:
        raise MissingProgram(
            f"{name} is not installed, and visitors reach their sessions through it.",
            hint=f"Install it, on Debian and Ubuntu with 'apt-get install {name}'.",
        )
    return found


def own_words(errors: str) -> str:
    """Take process ids and routine notices out of HAProxy's messages, and join the rest into one line."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith("[NOTICE]")]
    return " ".join(NOISE.sub("", line) for line in kept)


def port_holder(port: int, not_with: str) -> str:
    """Name who listens on a TCP port, such as ``python3 (process 4711)``, where we may see it; blocks."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return ""
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
            continue
        if connection.laddr.port != port:
            continue
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(connection.pid)
            if not_with not in process.cmdline():
                return f"{process.name()} (process {connection.pid})"
    return ""


def open_file_limit() -> int:
    """Give how many files HAProxy may have open: it raises its own limit up to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard


def unprivileged_user(folder: Path) -> str:
    """Give ``user:group`` for HAProxy to become: ``haproxy`` or ``nobody`` when we are root; blocks.

    Empty when we are not root, and when that user could not reach the control plane's socket in ``folder``.
    """
    if os.geteuid() != 0 or not all(_others_may_pass(part) for part in (folder, *folder.parents)):
        return ""
    return _first_user()


def _others_may_pass(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _first_user() -> str:
    import grp  # noqa: PLC0415 - only where there are such users
    import pwd  # noqa: PLC0415

    for user in ("haproxy", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(user)
            return f"{user}:{grp.getgrgid(entry.pw_gid).gr_name}"
    return ""


def _read_from_start(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
