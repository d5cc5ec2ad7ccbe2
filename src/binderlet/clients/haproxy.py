"""HAProxy's runtime API over its unix sockets: one short connection per call, never blocking, never waiting long.

Every call raises ``RouterUnavailable`` when HAProxy does not answer in time or refuses the command.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from binderlet.errors import RouterUnavailable

WORD = re.compile(r"[A-Za-z0-9._:/@!-]+")
"""What a name, key or value may be made of; anything else could end the command and begin another."""
LIMIT = 64 * 1024**2
"""Bytes of one answer; 20,000 rows of a stick table are about 3 MB."""

Table = Mapping[str, Mapping[str, int]]
"""A stick table: key to its counters by name, such as ``conn_cur``."""


class HAProxyClient:
    """Talks to the socket of a worker (``stats socket``) or of the master (``-S``)."""

    def __init__(self, socket: Path, *, timeout: float = 5.0) -> None:
        self.socket = socket
        self._timeout = timeout

    async def ask(self, command: str) -> str:
        """Send one line, commands separated by ``;``, and give the whole answer.

        Raises:
            RouterUnavailable: nobody listens, or there is no answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(command)
        except TimeoutError as error:
            raise RouterUnavailable(
                f"HAProxy took the connection on {self.socket} but gave no answer in {self._timeout:g} s."
            ) from error
        except OSError as error:
            raise RouterUnavailable(f"HAProxy does not answer on {self.socket}: {error}.") from error

    async def _exchange(self, command: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=LIMIT)
        try:
            writer.write(command.encode() + b"\n")
            # The master's socket answers more than one line unless it sees that no more will come.
            writer.write_eof()
            return (await reader.read()).decode(errors="replace")
        finally:
            await _hang_up(writer)

    async def is_listening(self) -> bool:
        """Whether something takes connections on the socket; a start may mend it if not."""
        try:
            _, writer = await asyncio.open_unix_connection(self.socket)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise RouterUnavailable(f"HAProxy's socket {self.socket} cannot be used: {error}.") from error
        await _hang_up(writer)
        return True

    async def info(self) -> Mapping[str, str]:
        """Give ``show info``, such as ``{"Version": "2.6.12-1+deb12u4", "Pid": "4711", ...}``."""
        answer = await self.ask("show info")
        pairs = (line.partition(": ") for line in answer.splitlines() if ": " in line)
        found = {key: value for key, _, value in pairs}
        if "Version" not in found:
            raise RouterUnavailable(f"HAProxy's answer on {self.socket} makes no sense: {answer[:200]!r}")
        return found

    async def version(self) -> str:
        """Give the bare version, such as ``2.6.12``."""
        return (await self.info())["Version"].partition("-")[0]

    async def map_entries(self, name: str) -> dict[str, str]:
        """Give a map's entries as the worker has them; where a key is there twice, the one that HAProxy uses."""
        answer = await self.ask(f"show map {word(name)}")
        entries: dict[str, str] = {}
        for line in answer.splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[0].startswith("0x"):  # noqa: PLR2004 - address, key, value
                entries.setdefault(parts[1], parts[2])
            elif parts:
                raise RouterUnavailable(f"HAProxy has no map {name}: {line}")
        return entries

    async def put(self, name: str, key: str, value: str) -> None:
        """Set a map's entry, at once for new requests; callers of one map take turns.

        ``add map`` on a key that exists would make a second entry that is never used, so ``set map`` comes first.
        """
        entry = f"{word(name)} {word(key)} {word(value)}"
        answer = (await self.ask(f"set map {entry}")).strip()
        if answer.startswith("entry not found"):
            answer = (await self.ask(f"add map {entry}")).strip()
        if answer:
            raise RouterUnavailable(f"HAProxy refused to set {key} in map {name}: {answer}")

    async def delete(self, name: str, key: str) -> bool:
        """Take a key out of a map and say whether it was there."""
        answer = (await self.ask(f"del map {word(name)} {word(key)}")).strip()
        if answer and not answer.startswith("Key not found"):
            raise RouterUnavailable(f"HAProxy refused to delete {key} from map {name}: {answer}")
        return not answer

    async def set_certificate(self, file: str, pem: bytes) -> None:
        """Give new TLS connections another certificate, chain and key in one text; open ones go on.

        Raises:
            RouterUnavailable: HAProxy refuses it, in its own words, and keeps the old one.
        """
        name = word(file)
        # The payload ends at an empty line.
        payload = "\n".join(line for line in pem.decode("ascii").splitlines() if line.strip())
        answer = await self.ask(f"set ssl cert {name} <<\n{payload}\n")
        if "Transaction" in answer:
            answer = await self.ask(f"commit ssl cert {name}")
        if "Success" not in answer:
            await self.ask(f"abort ssl cert {name}")
            raise RouterUnavailable(f"HAProxy does not take the new certificate: {answer.strip()}")

    async def table(self, name: str) -> Table:
        """Give a stick table's rows."""
        return parse_table(await self.ask(f"show table {word(name)}"))

    async def clear(self, name: str, key: str) -> None:
        """Forget a stick table's row; a row with open connections stays until they close."""
        await self.ask(f"clear table {word(name)} key {word(key)}")


class HAProxyMaster(HAProxyClient):
    """Talks to the master's socket, which also reaches workers that a reload left behind with open connections."""

    async def processes(self) -> tuple[int, tuple[int, ...]]:
        """Give the master's process id, and its workers' with those of earlier reloads.

        Raises:
            RouterUnavailable: the master does not answer.
        """
        answer = await self.ask("show proc")
        rows = [line.split()[:2] for line in answer.splitlines() if line[:1].isdigit()]
        masters = [int(pid) for pid, kind in rows if kind == "master"]
        if not masters:
            raise RouterUnavailable(f"HAProxy's answer on {self.socket} makes no sense: {answer[:200]!r}")
        return masters[0], tuple(int(pid) for pid, kind in rows if kind == "worker")

    async def worker_table(self, pid: int, name: str) -> Table:
        """Give one worker's stick table; no rows if the worker has just ended."""
        return parse_table(await self.ask(f"@!{pid} show table {word(name)}"))


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def word(text: str) -> str:
    """Give the text back if it is one safe word of a command.

    Raises:
        ValueError: it is not.
    """
    if not WORD.fullmatch(text):
        raise ValueError(f"{text!r} cannot be part of a command for HAProxy")
    return text


def parse_table(answer: str) -> Table:
    """Read the answer to ``show table``; lines that are not rows are skipped."""
    rows: dict[str, dict[str, int]] = {}
    for line in answer.splitlines():
        if not line.startswith("0x"):
            continue
        fields = dict(part.split("=", 1) for part in line.split()[1:] if "=" in part)
        key = fields.pop("key", "")
        rows[key] = {name: int(value) for name, value in fields.items() if value.isdigit()}
    return rows
