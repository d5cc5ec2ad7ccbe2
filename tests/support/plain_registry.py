"""Debian's docker-registry on a folder, without TLS and passwords."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.ports import free_ports

CONFIGURATION = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: "{listen}:{port}"}}
"""


@contextmanager
def plain_registry(folder: Path, *, host: str = "127.0.0.1", enter: Sequence[str] = ()) -> Iterator[str]:
    """Run one and give where it is reached, ``host:port``; ``enter`` is a command that runs it elsewhere."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    [port] = free_ports(1)
    listen = host if host == "127.0.0.1" else ""
    (folder / "config.yml").write_text(CONFIGURATION.format(folder=folder, listen=listen, port=port))
    command = [*enter, "docker-registry", "serve", str(folder / "config.yml")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(f"http://{host}:{port}/v2/", process)
            yield f"{host}:{port}"
        finally:
            process.terminate()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, "docker-registry did not start"
            assert time.monotonic() < deadline, "docker-registry does not answer"
            time.sleep(0.05)
