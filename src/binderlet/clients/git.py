"""Runs the git program: hardened, in a process group that ends with the call, its words mapped to our errors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, cast

import structlog

from binderlet.clients.git_errors import error_from
from binderlet.errors import BadRepository, MissingProgram

logger = structlog.get_logger(__name__)

_CONFIG: Final = Path(__file__).with_name("gitconfig")
_PASSED_ON: Final = (
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSH_COMMAND",
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
# No key, agent or configuration of the account we run as: a visitor must not reach what the operator can.
_SSH: Final = (
    "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityFile=none -o IdentityAgent=none "
    "-o StrictHostKeyChecking=accept-new -o ConnectTimeout=15"
)
_CHUNK: Final = 65536
_KEPT: Final = 16384
"""Bytes of standard error kept for the error message."""
_PROGRESS_EVERY: Final = 1.0
"""Seconds between two states of one progress line."""
_TERM_TIME: Final = 2.0
"""Seconds between the polite and the final signal."""


def environment_for(environment: Mapping[str, str], protocols: Iterable[str]) -> dict[str, str]:
    """Make the whole environment of a git program.

    Of ``environment`` it takes the search path, proxies, certificates and ``GIT_SSH_COMMAND``, nothing else: no
    configuration, credentials or home of the account we run as. ``protocols`` bind submodules too.
    """
    passed = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    if "SSL_CERT_FILE" in passed:
        passed.setdefault("GIT_SSL_CAINFO", passed["SSL_CERT_FILE"])  # Debian's libcurl-gnutls reads only this one
    return {
        "PATH": os.defpath,
        "GIT_SSH_COMMAND": _SSH,
        **passed,
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_CONFIG_GLOBAL": str(_CONFIG),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
    }


class _Lines:
    """Cuts standard error into lines for a log, and keeps its end."""

    def __init__(self, log: Callable[[str], None] | None) -> None:
        self._log = log
        self._open = b""
        self._shown_at = 0.0
        self.kept = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; git ends the states of a progress line with a carriage return."""
        self.kept = (self.kept + data)[-_KEPT:]
        *complete, self._open = re.split(rb"(?<=[\r\n])", self._open + data)
        self._open = self._open[-_KEPT:]
        for line in complete:
            self._show(line)

    def _show(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        if self._log is None or not text:
            return
        if line.endswith(b"\r"):
            if time.monotonic() - self._shown_at < _PROGRESS_EVERY:
                return
            self._shown_at = time.monotonic()
        self._log(text)

    def end(self) -> None:
        """Show the last line, which may lack its end."""
        self._show(self._open)


class Git:
    """The git program. Commands run as process groups of their own, which end with the call that started them."""

    def __init__(self, *, protocols: Iterable[str], environment: Mapping[str, str], program: str = "git") -> None:
        self._program = program
        self._environment = environment_for(environment, protocols)
        self._local = environment_for(environment, ("file",))

    async def run(
        self,
        *arguments: str,
        about: str,
        log: Callable[[str], None] | None = None,
        enough: Callable[[bytes], bool] | None = None,
        local: bool = False,
    ) -> bytes:
        """Run git and give back its standard output. Cancelling ends it and all that it started.

        ``about`` is the URL that error messages name; ``log`` gets the lines of standard error, progress at most once
        a second; ``enough`` is given the output piece by piece instead of it being kept, and ends the command,
        without an error, by returning true; ``local`` allows this machine's disk and nothing else.

        Raises:
            MissingProgram: git is not installed.
            ProviderUnavailable: the remote does not answer.
            RepositoryNotFound: the remote has no such repository, or not for us.
            RefNotFound: it has no such ref or commit.
            BadRepository: anything else that git could not do.
        """
        process = await self._start(arguments, local=local)
        lines = _Lines(log)
        output = bytearray()
        try:
            stopped = await _read(process, output, enough, lines)
            await process.wait()
        except BaseException:
            await _end(process)
            raise
        if process.returncode and not stopped:
            raise error_from(lines.kept.decode(errors="replace"), about)
        return bytes(output)

    async def _start(self, arguments: tuple[str, ...], *, local: bool) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._local if local else self._environment,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError):
            raise MissingProgram(
                f"The program {self._program} is not installed.", hint="On Debian: apt-get install git."
            ) from None

    async def list_refs(self, url: str, names: Collection[str], *, heads_and_tags: bool) -> dict[str, str]:
        """Ask the remote for some of its refs; the answer holds those of ``names`` that exist, with peeled tags.

        ``heads_and_tags`` spares a remote with many other refs (pull requests) from listing them.

        Raises:
            MissingProgram, ProviderUnavailable, RepositoryNotFound, BadRepository: as ``run``.
        """
        kinds = ("--heads", "--tags") if heads_and_tags else ()
        wanted = sorted({*names, *(f"{name}^{{}}" for name in names)})
        output = await self.run("ls-remote", "--quiet", *kinds, "--", url, *wanted, about=url)
        pairs = (line.partition("\t") for line in output.decode(errors="replace").splitlines())
        # git's own patterns match the ends of names: "main" would find "a/main" too
        return {name: sha for sha, _, name in pairs if name in wanted}

    async def has_lfs(self) -> bool:
        """Whether git-lfs is installed."""
        try:
            await self.run("lfs", "version", about="git-lfs", local=True)
        except BadRepository:
            return False
        return True


async def _read(
    process: asyncio.subprocess.Process,
    output: bytearray,
    enough: Callable[[bytes], bool] | None,
    lines: _Lines,
) -> bool:
    """Read both pipes to their ends; returns whether there was enough. An error of a listener comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            consuming = group.create_task(_consume(process, output, enough), name="git's output")
            group.create_task(_listen(process, lines), name="git's words")
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return consuming.result()


async def _consume(
    process: asyncio.subprocess.Process, output: bytearray, enough: Callable[[bytes], bool] | None
) -> bool:
    """Read standard output to its end, or until there is enough; returns whether there was."""
    stream = cast("asyncio.StreamReader", process.stdout)
    stopped = False
    while chunk := await stream.read(_CHUNK):
        if enough is None:
            output += chunk
        elif not stopped and enough(chunk):
            stopped = True  # what is left in the pipe must still be read, or it stays open
            _signal(process, signal.SIGKILL)
    return stopped


async def _listen(process: asyncio.subprocess.Process, lines: _Lines) -> None:
    """Read standard error to its end."""
    stream = cast("asyncio.StreamReader", process.stderr)
    while chunk := await stream.read(_CHUNK):
        lines.feed(chunk)
    lines.end()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the whole process group; politely at first, because git then removes its temporary files."""
    _signal(process, signal.SIGTERM)
    try:
        await _drain(process)
    finally:
        _signal(process, signal.SIGKILL)
        await _drain(process)


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Wait until the process has ended and its pipes were read to their end, without which they stay open."""
    try:
        async with asyncio.timeout(_TERM_TIME):
            await process.communicate()
    except TimeoutError:
        logger.warning("git still runs though it was told to end", pid=process.pid)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # ended in the meantime
        os.killpg(process.pid, number)
