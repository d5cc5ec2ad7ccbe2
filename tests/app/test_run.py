"""One service in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from binderlet.app.run import serve
from binderlet.errors import AlreadyRunning, ConfigError, EngineUnavailable
from support.app import ask, served, settings

pytestmark = pytest.mark.haproxy


async def test_the_operator_ends_the_service(tmp_path: Path) -> None:
    """A shutdown by the operator ends the service and its data path."""
    wanted = settings(tmp_path / "s")
    async with served(wanted) as handle:
        assert (await ask(tmp_path / "s", "POST", "/shutdown"))[0] == 202
        async with asyncio.timeout(10), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{handle.url}health"):
                        await asyncio.sleep(0.02)
                except aiohttp.ClientError:
                    break


async def test_leaving_keeps_the_data_path(tmp_path: Path) -> None:
    """The control plane can end alone: HAProxy goes on, and the next control plane takes it over."""
    wanted = settings(tmp_path / "s")
    async with served(wanted) as handle:
        handle.leave()
        await asyncio.sleep(0.3)
        async with aiohttp.ClientSession() as session, session.get(f"{handle.url}health") as answer:
            assert answer.status == 503
    async with (
        served(wanted) as handle,
        aiohttp.ClientSession() as session,
        session.get(f"{handle.url}health") as answer,
    ):
        assert answer.status == 200


async def test_a_second_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """Two control planes of one name cannot run; the second says so and touches nothing."""
    wanted = settings(tmp_path / "s")
    async with served(wanted):
        with pytest.raises(AlreadyRunning):
            await serve(wanted, lambda _: None, lambda _: None)


async def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It ends the start with a sentence that names the setting and the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"paths\.state: .*/file/s cannot be written"):
        await serve(settings(tmp_path / "file" / "s"), lambda _: None, lambda _: None)


async def test_without_an_engine_the_start_says_so(tmp_path: Path) -> None:
    """A start without a container engine fails with one clear error, and lets go of everything."""
    wanted = settings(tmp_path / "s", engine={"kind": "docker", "socket": str(tmp_path / "none.sock")})
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=r"none\.sock"):
            await serve(wanted, lambda _: None, lambda _: None)
