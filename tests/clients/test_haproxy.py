"""The client of HAProxy's runtime API, against a scripted socket; ``tests/router`` has it against the real program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from binderlet.clients.haproxy import HAProxyClient, HAProxyMaster, parse_table, word
from binderlet.errors import RouterUnavailable
from support.routers import folder_for_sockets

ROWS = """# table: act, type: string, size:20480, used:2
0x5581a: key=s-1 use=0 exp=86399856 shard=0 conn_cur=1 http_req_cnt=2 bytes_in_cnt=300 bytes_out_cnt=4000
0x5581b: key=s-2 use=1 exp=1 conn_cur=0 gpt0=x odd

"""
PROCESSES = """#<PID>          <type>          <reloads>       <uptime>        <version>
23403           master          1 [failed: 0]   0d00h10m16s     2.6.12-1+deb12u4
# workers
30537           worker          0               0d00h00m00s     2.6.12-1+deb12u4
# old workers
23404           worker          1               0d00h10m16s     2.6.12-1+deb12u4
# programs

"""


@asynccontextmanager
async def answering(answers: Mapping[str, str]) -> AsyncIterator[tuple[HAProxyMaster, list[str]]]:
    """Listen as HAProxy would, and give a client and the commands that came."""
    asked: list[str] = []
    over = asyncio.Event()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        command = (await reader.read()).decode().strip()
        if command:
            asked.append(command)
        if (answer := answers.get(command)) is not None:
            writer.write(answer.encode())
            await writer.drain()
        elif command:
            await over.wait()
        writer.close()
        await writer.wait_closed()

    with folder_for_sockets() as folder:
        path = folder / "haproxy.sock"
        async with await asyncio.start_unix_server(serve, path):
            yield HAProxyMaster(path, timeout=0.2), asked
            over.set()
            await asyncio.sleep(0.01)  # a connection may still be on its way in
            await asyncio.gather(*(task for task in serving if task))


async def test_info_and_version() -> None:
    """``show info`` becomes a mapping; the version is without the packager's suffix."""
    async with answering({"show info": "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 7\n\n"}) as (client, _):
        assert (await client.info())["Pid"] == "7"
        assert await client.version() == "2.6.12"


async def test_info_without_sense() -> None:
    """An answer that is not HAProxy's is said to be so."""
    async with answering({"show info": "220 smtp\n"}) as (client, _):
        with pytest.raises(RouterUnavailable, match="makes no sense: '220 smtp"):
            await client.info()


async def test_map_entries() -> None:
    """A map's entries are read; of two for one key the first counts, as HAProxy does it."""
    listing = "0x1 a 127.0.0.1:1\n0x2 b 127.0.0.1:2\n0x3 a 127.0.0.1:3\n\n"
    async with answering({"show map r.map": listing, "show map empty": "\n"}) as (client, _):
        assert await client.map_entries("r.map") == {"a": "127.0.0.1:1", "b": "127.0.0.1:2"}
        assert await client.map_entries("empty") == {}


async def test_no_such_map() -> None:
    """HAProxy's refusal to show a map is an error with its words."""
    async with answering({"show map x": "Unknown map identifier. Please use #<id> or <file>.\n"}) as (client, _):
        with pytest.raises(RouterUnavailable, match="Unknown map identifier"):
            await client.map_entries("x")


async def test_put_sets_what_is_there() -> None:
    """An entry that is there is set, not added a second time."""
    async with answering({"set map r k v": "\n"}) as (client, asked):
        await client.put("r", "k", "v")
        assert asked == ["set map r k v"]


async def test_put_adds_what_is_new() -> None:
    """An entry that is not there is added."""
    async with answering({"set map r k v": "entry not found.\n\n", "add map r k v": "\n"}) as (client, asked):
        await client.put("r", "k", "v")
        assert asked == ["set map r k v", "add map r k v"]


async def test_put_refused() -> None:
    """HAProxy's refusal is an error with its words."""
    async with answering({"set map r k v": "Permission denied\n"}) as (client, _):
        with pytest.raises(RouterUnavailable, match="refused to set k in map r: Permission denied"):
            await client.put("r", "k", "v")


async def test_delete() -> None:
    """Deleting says whether the key was there, and refusals are errors."""
    answers = {"del map r a": "\n", "del map r b": "Key not found.\n\n", "del map r c": "Permission denied\n"}
    async with answering(answers) as (client, _):
        assert await client.delete("r", "a") is True
        assert await client.delete("r", "b") is False
        with pytest.raises(RouterUnavailable, match="Permission denied"):
            await client.delete("r", "c")


async def test_tables() -> None:
    """A table's rows are read from this worker or from one by its process id, and cleared by key."""
    answers = {"show table act": ROWS, "@!7 show table act": ROWS, "clear table act key s-1": "\n"}
    async with answering(answers) as (client, asked):
        assert await client.table("act") == await client.worker_table(7, "act") == parse_table(ROWS)
        await client.clear("act", "s-1")
        assert asked[-1] == "clear table act key s-1"


def test_parse_table() -> None:
    """Numbers are kept by their names; other fields and lines are skipped."""
    assert parse_table(ROWS) == {
        "s-1": {
            "use": 0,
            "exp": 86399856,
            "shard": 0,
            "conn_cur": 1,
            "http_req_cnt": 2,
            "bytes_in_cnt": 300,
            "bytes_out_cnt": 4000,
        },
        "s-2": {"use": 1, "exp": 1, "conn_cur": 0},
    }
    assert parse_table("Can't find the target PID matching the prefix '@!999'\n") == {}


async def test_processes() -> None:
    """The master and all workers are told apart, with those of earlier reloads."""
    async with answering({"show proc": PROCESSES}) as (client, _):
        assert await client.processes() == (23403, (30537, 23404))


async def test_processes_of_a_worker() -> None:
    """A socket that is not a master's is said to make no sense."""
    async with answering({"show proc": "Unknown command\n"}) as (client, _):
        with pytest.raises(RouterUnavailable, match="makes no sense"):
            await client.processes()


async def test_silence() -> None:
    """No answer in time is an error that says so."""
    async with answering({}) as (client, _):
        with pytest.raises(RouterUnavailable, match=r"gave no answer in 0\.2 s"):
            await client.ask("show info")


async def test_nobody_listens(tmp_path: Path) -> None:
    """A socket that is not there is an error that names it."""
    client = HAProxyClient(tmp_path / "none.sock")
    assert await client.is_listening() is False
    with pytest.raises(RouterUnavailable, match=r"none\.sock"):
        await client.ask("show info")


async def test_listening() -> None:
    """A socket with a listener is seen."""
    async with answering({}) as (client, _):
        assert await client.is_listening() is True


async def test_unusable_socket() -> None:
    """A path that cannot be a socket's is an error, not an absence."""
    client = HAProxyClient(Path(os.sep) / ("x" * 200))
    with pytest.raises(RouterUnavailable, match="cannot be used"):
        await client.is_listening()


@pytest.mark.parametrize("text", ["", "a b", "a;show info", "a\nb", "a\\b", "#1", "$x", "\u00e9"])
def test_words_that_are_none(text: str) -> None:
    """Nothing that could end a command gets into one."""
    with pytest.raises(ValueError, match="cannot be part of a command"):
        word(text)
