"""Debian's ``docker-registry`` on a bucket: its configuration (pure), and the process, which outlives this one.

It listens on a socket in a folder that only this user can enter, so that it needs no password. It keeps nothing but
an upload's state in memory: it may be killed at any time, and any number of machines may run one on the same bucket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import structlog

from binderlet.config.registry import S3Settings
from binderlet.errors import ImagesUnavailable, MissingProgram

log = structlog.get_logger(__name__)

PROGRAM = "docker-registry"
SOCKET = "registry.sock"
CONFIG = "registry.json"
LOG = "registry.log"
PID = "registry.pid"
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0
LOG_LIMIT = 10 * 2**20
"""Bytes of the log beyond which it is emptied."""
TAIL = 16384
FRESH = 60.0
"""Seconds for which what the storage said counts as the reason of a failure."""
STORAGE_SAYS = re.compile(r'time="([^"]+)" level=error .*?err\.detail="s3aws: ((?:[^"\\]|\\.)*)"')


def configuration(settings: S3Settings, secret: str, *, read_only: bool = False) -> dict[str, Any]:
    """Give what docker-registry is to do; JSON is YAML.

    Blob descriptors are not cached: what another machine or the garbage collection removed would still count as
    there, and its layers would never be pushed again. Blobs are not redirected to the bucket: the engine would have
    to reach it and trust its certificate.
    """
    storage: dict[str, Any] = {
        "s3": {
            "accesskey": settings.access_key,
            "secretkey": settings.secret_key.get_secret_value(),
            "region": settings.region,
            "regionendpoint": settings.endpoint.rstrip("/"),
            "bucket": settings.bucket,
            "rootdirectory": f"/{settings.folder}",
            "secure": settings.endpoint.startswith("https:"),
            "v4auth": True,
        },
        "delete": {"enabled": True},
        "redirect": {"disable": True},
        # What a killed upload left; the bucket's own rules do the same for its parts.
        "maintenance": {"uploadpurging": {"enabled": True, "age": "48h", "interval": "24h", "dryrun": False}},
    }
    if read_only:
        storage["maintenance"]["readonly"] = {"enabled": True}
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": storage,
        "http": {"net": "unix", "addr": SOCKET, "secret": secret, "relativeurls": True},
    }


class RegistryProcess:
    """Starts, finds and ends the docker-registry of one folder."""

    def __init__(self, folder: Path, settings: S3Settings, *, ca_bundle: Path | None = None) -> None:
        self.folder = folder.absolute()
        self.socket = self.folder / SOCKET
        self.config = self.folder / CONFIG
        self._settings = settings
        self._ca_bundle = ca_bundle

    async def ensure(self) -> bool:
        """Run it as configured: started, or started anew, unless it runs so already; whether it was started.

        Raises:
            MissingProgram: docker-registry is not installed.
            ImagesUnavailable: it does not start, in its own words.
        """
        return await asyncio.to_thread(self._ensure)

    async def end(self) -> None:
        """End it if it runs, and wait until it has. Idempotent."""
        await asyncio.to_thread(self._end)

    @property
    def environment(self) -> dict[str, str]:
        """The environment it runs in; its garbage collection needs the same."""
        found = {"PATH": os.environ.get("PATH", os.defpath), "OTEL_TRACES_EXPORTER": "none"}
        return found | ({"SSL_CERT_FILE": str(self._ca_bundle)} if self._ca_bundle else {})

    def _ensure(self) -> bool:
        program = shutil.which(PROGRAM)
        if program is None:
            raise MissingProgram(
                f"{PROGRAM} is not installed, and registry.s3 needs it to keep images in object storage.",
                hint=f"Install it, on Debian and Ubuntu with 'apt-get install {PROGRAM}'.",
            )
        changed = self.write_config()
        self._shorten_log()
        if self._process() is not None and self.socket.is_socket():
            if not changed:
                return False
            log.info("the registry's settings have changed: it is started anew")
        self._end()
        self._start(program)
        return True

    def write_config(self) -> bool:
        """Write the configuration, readable by this user alone; whether it is another than before. Blocks."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        secret = self.folder / "secret"
        if not secret.exists():
            secret.write_text(secrets.token_hex(32), encoding="ascii")
        text = json.dumps(configuration(self._settings, secret.read_text(encoding="ascii")), indent=1)
        if self.config.exists() and self.config.read_text(encoding="utf-8") == text:
            return False
        self.config.touch(mode=0o600)
        self.config.write_text(text, encoding="utf-8")
        return True

    def _start(self, program: str) -> None:
        self.socket.unlink(missing_ok=True)
        # A shell starts it in the background and ends: it is nobody's child, so nothing of ours ends it.
        line = f'"$1" serve {CONFIG} </dev/null >>{LOG} 2>&1 & echo $! >{PID}'
        command = ["/bin/sh", "-c", line, "sh", program]
        subprocess.run(command, env=self.environment, cwd=self.folder, check=True, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while not self.socket.is_socket():
            if self._process() is None or time.monotonic() > deadline:
                raise ImagesUnavailable(f"docker-registry does not start. It says: {self.last_words()}")
            time.sleep(0.02)

    def _shorten_log(self) -> None:
        path = self.folder / LOG
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            os.truncate(path, 0)  # the process only ever appends

    def storage_says(self) -> str:
        """Give what the storage has said to the registry a moment ago, which it tells nobody but its log; blocks."""
        path = self.folder / LOG
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            found = STORAGE_SAYS.findall(file.read().decode(errors="replace"))
        if not found:
            return ""
        when, words = found[-1]
        age = time.time() - datetime.fromisoformat(when).timestamp()
        return " ".join(words.replace("\\n", " ").replace("\\t", " ").split()) if age < FRESH else ""

    def last_words(self) -> str:
        """Give why it ended, or else the end of its log; blocks."""
        path = self.folder / LOG
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        telling = [line for line in lines if line.startswith("panic:") or "level=fatal" in line]
        return (telling or lines or [""])[-1][-500:]

    def _process(self) -> psutil.Process | None:
        """Find it by its pid file; a pid that now belongs to something else is not it."""
        try:
            process = psutil.Process(int((self.folder / PID).read_text(encoding="ascii")))
            alive = process.status() != psutil.STATUS_ZOMBIE
            return process if alive and Path(process.cwd()) == self.folder.resolve() else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def _end(self) -> None:
        process = self._process()
        if process is None:
            return
        if not _ends(process, signal.SIGTERM):
            log.warning("docker-registry did not end when asked to", seconds=STOP_TIMEOUT)
            _ends(process, signal.SIGKILL)
        self.socket.unlink(missing_ok=True)


def _ends(process: psutil.Process, number: signal.Signals) -> bool:
    """Signal a process; whether it ended in time. One that nobody has asked for its exit code has ended, too."""
    deadline = time.monotonic() + STOP_TIMEOUT
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True
