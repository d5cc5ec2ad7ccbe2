"""A build's log: every line shown is in the file, whoever wrote it, and no build can fill the disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from binderlet.errors import StoreUnavailable
from binderlet.events import buildlog as buildlog_module
from binderlet.events.buildlog import LONGEST_LINE, TAIL_LINES, BuildLog, parse_line, printable
from binderlet.events.kinds import LaunchEvent
from binderlet.model import Phase
from binderlet.tasks import Tasks
from support.eventually import eventually


async def read(log: BuildLog) -> list[str]:
    """Follow a log to its end and give its messages."""
    return [event.message async for event in log.follow()]


def append(path: Path, data: bytes) -> None:
    """Append as another process does."""
    with path.open("ab") as file:
        file.write(data)


async def test_our_lines_keep_their_order_and_phase(tmp_path: Path) -> None:
    """What is written comes out as events, whole and in order."""
    log = BuildLog(tmp_path / "builds" / "log")
    log.write("Waiting for a place", Phase.WAITING)
    log.write("Fetching\n", Phase.FETCHING)
    for number in range(100):
        log.write(f"line {number}")
    log.finish()
    events = [event async for event in log.follow()]
    assert events[:2] == [
        LaunchEvent(Phase.WAITING, "Waiting for a place\n"),
        LaunchEvent(Phase.FETCHING, "Fetching\n"),
    ]
    assert [event.message for event in events[2:]] == [f"line {number}\n" for number in range(100)]
    assert {event.phase for event in events[2:]} == {Phase.BUILDING}


async def test_a_line_is_in_the_file_before_it_is_shown(tmp_path: Path) -> None:
    """Whatever kills us after a line was shown, the line is there after a restart."""
    log = BuildLog(tmp_path / "log")
    shown = 0
    async with Tasks("test") as tasks:

        async def write() -> None:
            for number in range(50):
                log.write(f"line {number}")
                await asyncio.sleep(0.001)
            log.finish()

        tasks.start(write(), name="writer")
        async for event in log.follow():
            content = await asyncio.to_thread(log.path.read_text)
            assert json.dumps(event.message.rstrip("\n")) in content
            shown += 1
    assert shown == 50


async def test_lines_of_another_process_are_followed_as_they_come(tmp_path: Path) -> None:
    """A build tool appends by itself; its lines appear while it runs, its last one also without line end."""
    log = BuildLog(tmp_path / "log")
    await log.flush()
    script = "import sys; print('#1 start', flush=True); sys.stdin.read(); print('the end', end='')"
    events: list[str] = []

    async def follow() -> None:
        async for event in log.follow():
            events.append(event.message)  # noqa: PERF401 - seen while it grows

    with log.path.open("ab") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=file)
    async with Tasks("test") as tasks:
        following = tasks.start(follow(), name="follow")
        await eventually(lambda: events == ["#1 start\n"])
        await process.communicate(b"")
        log.finish()
        await following
    assert events == ["#1 start\n", "the end\n"]


async def test_a_log_is_read_again_after_a_restart(tmp_path: Path) -> None:
    """A new process follows the same file from its first line."""
    before = BuildLog(tmp_path / "log")
    before.write("one")
    await before.flush()
    after = BuildLog(tmp_path / "log")
    after.write("two")
    after.finish()
    assert await read(after) == ["one\n", "two\n"]


async def test_a_log_without_lines_ends(tmp_path: Path) -> None:
    """Nothing written, nothing shown; finishing twice is as once."""
    log = BuildLog(tmp_path / "log")
    log.finish()
    log.finish()
    assert await read(log) == []


def test_outside_the_loop_a_line_is_written_at_once(tmp_path: Path) -> None:
    """Threads may write, too."""

    async def make() -> BuildLog:
        return BuildLog(tmp_path / "log")

    log = asyncio.run(make())
    thread = threading.Thread(target=log.write, args=("from a thread",))
    thread.start()
    thread.join()
    assert "from a thread" in log.path.read_text()


async def test_beyond_the_limit_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    """A log of 20 MB becomes its first kilobytes, how much is missing, and its last lines; so does its file."""
    log = BuildLog(tmp_path / "log", limit=10_000)
    await log.flush()
    chunk = b"".join(b"line %06d\n" % number for number in range(100_000))
    await asyncio.to_thread(append, log.path, chunk * 17 + b"ERROR: no such package\n")
    log.finish()
    messages = await read(log)
    assert messages[0] == "line 000000\n"
    assert len(messages) == 833 + 1 + TAIL_LINES
    dropped = 17 * 1_200_000 + 23 - 833 * 12
    assert messages[833] == f"[{dropped} bytes of the log are not kept; its last lines were:]\n"
    assert messages[-1] == "ERROR: no such package\n"
    assert (await asyncio.to_thread(log.path.stat)).st_size < 20_000
    again = BuildLog(log.path, limit=10_000)
    again.finish()
    assert await read(again) == messages


async def test_a_build_that_prints_without_end_cannot_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is cut again and again while the build runs, also when reading falls behind."""
    monkeypatch.setattr(buildlog_module, "CUT_EVERY", 1000)
    monkeypatch.setattr(buildlog_module, "CHUNK", 500)
    log = BuildLog(tmp_path / "log", limit=2000)
    await log.flush()
    largest = 0
    async with Tasks("test") as tasks:
        following = tasks.start(read(log), name="follow")
        for _ in range(50):
            await asyncio.to_thread(append, log.path, b"0123456789abcde\n" * 100)
            await asyncio.sleep(0.01)
            largest = max(largest, (await asyncio.to_thread(log.path.stat)).st_size)
        log.finish()
        messages = await following
    assert largest < 40_000
    (notice,) = [message for message in messages if message.startswith("[")]
    dropped = int(notice[1:].split()[0])
    # What comes between looking at the file's size and cutting it is lost uncounted.
    assert 40_000 < dropped <= 50 * 1600 - 2000


async def test_a_line_without_end_is_shown_in_parts(tmp_path: Path) -> None:
    """A megabyte without a line end neither stays invisible nor grows in memory."""
    log = BuildLog(tmp_path / "log")
    await log.flush()
    await asyncio.to_thread(append, log.path, b"x" * (LONGEST_LINE * 20))
    log.finish()
    messages = await read(log)
    assert len(messages) > 1
    assert sum(len(message) - 1 for message in messages) == LONGEST_LINE * 20


async def test_a_line_without_end_beyond_the_limit_is_dropped(tmp_path: Path) -> None:
    """The same, for what is not kept."""
    log = BuildLog(tmp_path / "log", limit=100)
    await log.flush()
    await asyncio.to_thread(append, log.path, b"kept\n")
    async with Tasks("test") as tasks:
        following = tasks.start(read(log), name="follow")
        await asyncio.sleep(0.1)
        await asyncio.to_thread(append, log.path, b"x" * (LONGEST_LINE * 8))
        log.finish()
        messages = await following
    assert messages[0] == "kept\n"
    assert messages[1].startswith(f"[{LONGEST_LINE * 8} bytes")


async def test_leaving_closes_the_file(tmp_path: Path) -> None:
    """A reader that is cancelled leaves no open file behind."""
    log = BuildLog(tmp_path / "log")
    before = await asyncio.to_thread(os.listdir, "/proc/self/fd")
    async with Tasks("test") as tasks:
        following = tasks.start(read(log), name="follow")
        await asyncio.sleep(0.1)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    assert len(await asyncio.to_thread(os.listdir, "/proc/self/fd")) <= len(before)


async def test_lines_that_come_while_others_are_written_are_written_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk delays lines and loses none, also without a reader."""
    slow, gate = Path.open, threading.Event()

    def wait_and_open(self: Path, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as Path.open
        gate.wait(5)
        return slow(self, *args, **options)

    monkeypatch.setattr(Path, "open", wait_and_open)
    log = BuildLog(tmp_path / "log")
    log.write("one")
    await asyncio.sleep(0.05)
    log.write("two")
    gate.set()
    await eventually(lambda: asyncio.to_thread(lambda: log.path.exists() and b"two" in log.path.read_bytes()))


async def test_a_log_that_cannot_be_written_is_logged_once(tmp_path: Path) -> None:
    """A full or read-only disk costs the log, not the build; whoever follows it is told."""
    (tmp_path / "folder").write_text("a file where the folder should be")
    log = BuildLog(tmp_path / "folder" / "log")
    with capture_logs() as logs:
        log.write("one")
        await log.flush()
        log.write("two")
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await read(log)
    assert [line["event"] for line in logs] == ["a build's log cannot be written"]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"phase": "fetching", "message": "x"}', LaunchEvent(Phase.FETCHING, "x\n")),
        (b"#5 DONE 0.1s", LaunchEvent(Phase.BUILDING, "#5 DONE 0.1s\n")),
        (b"", LaunchEvent(Phase.BUILDING, "\n")),
        # A build tool cannot end the launch by printing what looks like ours.
        (b'{"phase": "ready", "message": "x"}', LaunchEvent(Phase.BUILDING, '{"phase": "ready", "message": "x"}\n')),
        (b'{"phase": 1}', LaunchEvent(Phase.BUILDING, '{"phase": 1}\n')),
        (b'{"phase": ', LaunchEvent(Phase.BUILDING, '{"phase": \n')),
        (b'{"phase"' + b"[" * 100_000, LaunchEvent(Phase.BUILDING, '{"phase"' + "[" * 100_000 + "\n")),
        (b'{"phase":' + b"[" * 100_000, LaunchEvent(Phase.BUILDING, '{"phase":' + "[" * 100_000 + "\n")),
        (b"caf\xe9 \xff\x00", LaunchEvent(Phase.BUILDING, "caf\ufffd \ufffd\n")),
        (b" 10%\r 50%\r100%\r", LaunchEvent(Phase.BUILDING, "100%\n")),
        (b"\x1b[31mred\x1b[0m\x07\ttab", LaunchEvent(Phase.BUILDING, "\x1b[31mred\x1b[0m\ttab\n")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_lines_become_events(line: bytes, event: LaunchEvent) -> None:
    """Our lines carry their phase; everything else is the build tool's, whatever it looks like."""
    assert parse_line(line) == event


@given(st.binary())
def test_any_bytes_become_an_event_of_one_line(line: bytes) -> None:
    """No output breaks the log or the stream."""
    event = parse_line(line.replace(b"\n", b""))
    assert event.phase in {Phase.BUILDING, Phase.FETCHING, Phase.WAITING}
    assert event.message.endswith("\n")
    assert event.data


def test_an_empty_progress_line_stays_empty() -> None:
    """Carriage returns alone show nothing."""
    assert not printable("\r\r")
