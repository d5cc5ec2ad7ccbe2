"""``/api/builds/{id}/log``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette

from binderlet.api.buildlog import BLOCK, read_block
from binderlet.api.ports import BuildView
from support.asgi import ask, opened
from support.services import Stage

VIEW = BuildView("b1", "binderlet/i-x:abc", "https://github.test/o/r", "running", 1000.0)


def write(path: Path, text: str) -> None:
    """Append to a log, off the loop."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


async def test_a_finished_log_is_text(app: Starlette, stage: Stage, tmp_path: Path) -> None:
    """Our own lines are shown as text, the build tool's as they are, and an unfinished last line too."""
    stage.logs["b1"] = tmp_path / "log"
    log = '{"phase": "fetching", "message": "Cloning é"}\n#1 RUN pip\n\nlast'
    await asyncio.to_thread(write, stage.logs["b1"], log)
    answer = await ask(app, "/api/builds/b1/log")
    assert answer.text == "Cloning é\n#1 RUN pip\n\nlast\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_running_log_is_followed(app: Starlette, stage: Stage, tmp_path: Path) -> None:
    """Lines come as they are written, from before the file exists until the build has ended."""
    stage.logs["b1"], stage.builds = tmp_path / "log", [VIEW]
    async with opened(app, "/api/builds/b1/log") as stream:
        await asyncio.to_thread(write, stage.logs["b1"], "one\ntw")
        await stream.until("one\n")
        await asyncio.to_thread(write, stage.logs["b1"], "o\n")
        await stream.until("two\n")
        stage.builds = [replace(VIEW, state="success")]
        await stream.finished.wait()
    assert stream.answer.text == "one\ntwo\n"


async def test_a_large_log_comes_in_blocks(app: Starlette, stage: Stage, tmp_path: Path) -> None:
    """No more than a block and a line is held in memory at a time, and nothing is lost between blocks."""
    stage.logs["b1"] = tmp_path / "log"
    text = "".join(f"{number} {'é' * 50}\n" for number in range(3000))
    await asyncio.to_thread(write, stage.logs["b1"], text)
    answer = await ask(app, "/api/builds/b1/log")
    assert answer.text == text
    assert answer.chunks > len(text.encode()) / BLOCK


async def test_an_unknown_build(app: Starlette) -> None:
    """A build that is not known is 404, with a hint."""
    answer = await ask(app, "/api/builds/nosuch/log")
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A log that was cleaned away reads as empty."""
    assert read_block(tmp_path / "gone", 0) == b""
