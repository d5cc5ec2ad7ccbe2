"""The files that HAProxy starts with, before a control plane has run."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from binderlet.app.router import make_router, write_first_files
from binderlet.config import Settings
from binderlet.router.process import find_program
from support.routers import folder_for_sockets
from support.upstreams import free_port


@pytest.mark.haproxy
async def test_haproxy_takes_them() -> None:
    """Configuration, pages, a certificate and an empty table of routes are all that it needs."""
    with folder_for_sockets() as state:
        settings = Settings.model_validate(
            {
                "server": {"host": "127.0.0.1", "port": free_port(), "public_url": "https://b.test/"},
                "https": {"mode": "acme", "port": free_port(), "email": "you@b.test"},
                "paths": {"state": str(state)},
                "system": {"haproxy": True},
                "proxies": {"trusted": ["10.0.0.0/8"], "proxy_protocol": True},
            }
        )
        await write_first_files(settings)
        run = state / "run"
        program = await asyncio.to_thread(find_program, "haproxy")
        check = [program, "-c", "-f", "haproxy.cfg"]
        done = await asyncio.to_thread(subprocess.run, check, cwd=run, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "expect-proxy layer4 if { src 10.0.0.0/8 }" in await asyncio.to_thread((run / "haproxy.cfg").read_text)
        status = await asyncio.to_thread((run / "certificate.pem").stat)
        assert status.st_mode & 0o777 == 0o640
        assert await asyncio.to_thread((run / "routes.map").read_text) == ""


def test_without_systemd_haproxy_is_ours(tmp_path: Path) -> None:
    """Its socket then is for this user alone."""
    settings = Settings.model_validate({"paths": {"state": str(tmp_path)}})
    assert "mode 600" in make_router(settings, tmp_path).write_files()
