"""Debian's docker-registry as binderlet runs it: what it is told, and its process."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from binderlet.config.registry import S3Settings
from binderlet.errors import ImagesUnavailable, MissingProgram
from binderlet.images.registry import distribution
from binderlet.images.registry.distribution import RegistryProcess, configuration
from support.ports import free_ports
from support.registry_server import client_of

pytestmark = pytest.mark.timeout(60)


def settings(**changes: str) -> S3Settings:
    """A bucket that nobody serves: the registry starts all the same."""
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/"
    return S3Settings.model_validate(
        {"endpoint": nobody, "bucket": "b", "access_key": "a", "secret_key": "secret"} | changes
    )


@pytest.fixture
def process(tmp_path_factory: pytest.TempPathFactory) -> RegistryProcess:
    """One that is not started."""
    if shutil.which(distribution.PROGRAM) is None:
        pytest.skip("docker-registry is not installed")
    return RegistryProcess(tmp_path_factory.mktemp("r"), settings(), ca_bundle=Path("/etc/ssl/ca.pem"))


def test_configuration() -> None:
    """It uses the bucket's folder, redirects nobody, caches nothing that others may remove, and listens on a socket."""
    made = configuration(settings(endpoint="https://s3.example.org", folder="a/b"), "x")
    assert made["storage"]["s3"] == {
        "accesskey": "a",
        "secretkey": "secret",
        "region": "us-east-1",
        "regionendpoint": "https://s3.example.org",
        "bucket": "b",
        "rootdirectory": "/a/b",
        "secure": True,
        "v4auth": True,
    }
    assert made["storage"]["redirect"] == {"disable": True}
    assert "cache" not in made["storage"]
    assert made["http"] == {"net": "unix", "addr": "registry.sock", "secret": "x", "relativeurls": True}
    assert "readonly" not in made["storage"]["maintenance"]
    assert configuration(settings(), "x", read_only=True)["storage"]["maintenance"]["readonly"] == {"enabled": True}


async def test_starts_once_and_outlives(process: RegistryProcess) -> None:
    """It is started once, found again by another object, and ended by it; ending twice does nothing."""
    assert await process.ensure()
    another = RegistryProcess(process.folder, process._settings)
    try:
        assert not await another.ensure()
        running = await asyncio.to_thread(another._process)
        assert running is not None
        assert running.ppid() != psutil.Process().pid
    finally:
        await another.end()
        await another.end()
    assert await asyncio.to_thread(process._process) is None
    assert not await asyncio.to_thread(process.socket.exists)


def test_secrets_are_ours_alone(process: RegistryProcess) -> None:
    """Nobody else can read the keys or reach the socket; the secret stays the same."""
    process.write_config()
    assert process.config.stat().st_mode & 0o777 == 0o600
    assert process.folder.stat().st_mode & 0o777 == 0o700
    before = json.loads(process.config.read_text())["http"]["secret"]
    assert not process.write_config()
    assert json.loads(process.config.read_text())["http"]["secret"] == before


async def test_new_settings_restart_it(process: RegistryProcess) -> None:
    """With other keys it is started anew."""
    await process.ensure()
    before = await asyncio.to_thread(process._process)
    changed = RegistryProcess(process.folder, settings(access_key="other"))
    try:
        assert await changed.ensure()
        assert await asyncio.to_thread(changed._process) != before
    finally:
        await changed.end()


async def test_killed_and_started_again(process: RegistryProcess) -> None:
    """One that was killed is started again, although its socket's file is still there."""
    await process.ensure()
    running = await asyncio.to_thread(process._process)
    assert running is not None
    running.kill()
    await asyncio.to_thread(running.wait, 10)
    try:
        assert await process.ensure()
        client = client_of(process)
        await client.ping()
        await client.close()
    finally:
        await process.end()


async def test_not_installed(process: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, the message says how to get it."""
    monkeypatch.setattr(distribution, "PROGRAM", "no-such-program")
    with pytest.raises(MissingProgram) as caught:
        await process.ensure()
    assert "apt-get install" in caught.value.hint


async def test_does_not_start(process: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it ends at once, its own words are told."""
    monkeypatch.setattr(distribution, "configuration", lambda *_: {"version": "0.1", "storage": {"nothing": {}}})
    with pytest.raises(ImagesUnavailable, match="nothing"):
        await process.ensure()


def test_long_logs_are_emptied(process: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has become long begins anew."""
    monkeypatch.setattr(distribution, "LOG_LIMIT", 3)
    log = process.folder / distribution.LOG
    log.write_text("long")
    process._shorten_log()
    assert log.read_text() == ""
    assert process.last_words() == ""


def test_what_the_storage_says(process: RegistryProcess) -> None:
    """The storage's words of a moment ago are found in the log; old ones, and those of other errors, are not."""
    assert process.storage_says() == ""
    log = process.folder / distribution.LOG
    line = 'time="{}" level=error msg="response completed with error" err.code=unknown err.detail="{}" x=y\n'
    now = datetime.now(UTC).isoformat()
    log.write_text(line.format(now, "unknown tag=1"))
    assert process.storage_says() == ""
    log.write_text(line.format(now, 's3aws: ExpiredToken: The \\"token\\" has expired.\\n\\tstatus code: 403'))
    assert process.storage_says() == 'ExpiredToken: The \\"token\\" has expired. status code: 403'
    log.write_text(line.format("2020-01-01T00:00:00.123456789Z", "s3aws: ExpiredToken: Long ago."))
    assert process.storage_says() == ""


async def test_hard_to_end(process: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not end when asked to is killed."""
    monkeypatch.setattr(distribution, "STOP_TIMEOUT", 0.5)
    await process.ensure()
    running = await asyncio.to_thread(process._process)
    assert running is not None
    running.suspend()  # a stopped process takes no notice of being asked
    await process.end()
    assert not running.is_running() or running.status() == psutil.STATUS_ZOMBIE


def test_pid_files_may_be_wrong(process: RegistryProcess) -> None:
    """A pid that belongs to something else is not taken for the registry, and ending then does nothing."""
    (process.folder / distribution.PID).write_text(str(psutil.Process().pid))
    assert process._process() is None
    process._end()
