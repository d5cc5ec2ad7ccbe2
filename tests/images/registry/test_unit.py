"""docker-registry started by somebody else, again and again, as systemd would."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from binderlet.config.registry import S3Settings
from binderlet.errors import ImagesUnavailable
from binderlet.images.registry.distribution import PROGRAM
from binderlet.images.registry.unit import RegistryUnit
from support.ports import free_ports

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="docker-registry is not installed"),
]

RESTARTED = f"while :; do rm -f registry.sock; {PROGRAM} serve registry.json >>registry.log 2>&1; sleep 0.05; done"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="bl-r-") as made:
        yield Path(made)


def settings(key: str = "a") -> S3Settings:
    """A bucket that nobody serves: the registry starts all the same."""
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}/"
    return S3Settings.model_validate({"endpoint": endpoint, "bucket": "b", "access_key": key, "secret_key": "s"})


@asynccontextmanager
async def systemd(folder: Path, environment: dict[str, str]) -> AsyncIterator[None]:
    """Run it, and start it anew whenever it ends, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", RESTARTED), cwd=folder, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_it_is_found_and_started_anew_by_systemd(folder: Path) -> None:
    """One that runs is used; with other settings it is ended, and is another process then; ending leaves it."""
    bucket = settings()
    first = RegistryUnit(folder, bucket)
    await asyncio.to_thread(first.write_config)
    async with systemd(folder, first.environment):
        await first.ensure()
        assert not await first.ensure()
        before = await asyncio.to_thread(first._listener)
        changed = RegistryUnit(folder, settings("other"))
        assert await changed.ensure()
        assert await asyncio.to_thread(first._listener) != before
        await changed.end()
        assert await asyncio.to_thread(first._listener) is not None


async def test_it_does_not_come(folder: Path) -> None:
    """After a while that is an error, which names the unit and has the program's last words."""
    await asyncio.to_thread((folder / "registry.log").write_text, "panic: no such bucket\n")
    unit = RegistryUnit(folder, settings(), ca_bundle=Path("/etc/ssl/ca.pem"), patience=0.0)
    with pytest.raises(ImagesUnavailable, match="panic: no such bucket") as error:
        await unit.ensure()
    assert "binderlet-registry.service" in error.value.hint
    assert await asyncio.to_thread((folder / "environment").read_text) == "SSL_CERT_FILE=/etc/ssl/ca.pem\n"
