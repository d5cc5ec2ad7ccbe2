"""A build process that outlives the control plane, and that a later one can find, follow and end."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from binderlet.builder import supervisor
from binderlet.builder.steps import Limits
from binderlet.errors import BuildFailed

PROGRAM = "import sys; sys.path += sys.argv[2:]; from binderlet.builder import supervisor as s; s.main(sys.argv[1])"
"""Run without ``site``, which takes longer than all the rest; imported, the supervisor is compiled only once."""
SOURCES = str(Path(supervisor.__file__).parents[2])
POLL = 0.02
"""Seconds between looks for the outcome: what a build's end may wait."""
LOOK_FOR_LIFE = 25
"""Every how many of these looks the lock is tried, too."""
START_TIMEOUT = 60.0
"""Seconds that the supervisor may take to start on a busy machine."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to run."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's own."""
    log: Path = Path(os.devnull)
    """The output is appended to it, line by line as it comes."""
    limit: int = 16 * 1024**2
    """Bytes of output that are kept; what comes after is read and dropped, but for its end."""
    timeout: float = 3600.0
    """Seconds after which the whole process group is ended."""
    progress: str = "raw"
    """``raw``; for BuildKit ``steps`` or ``output``, see ``supervisor.Readable``; ``repo2docker``."""
    steps: Limits | None = None
    """What the steps that the engine runs for it may do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended."""

    code: int
    reason: str
    """``exited``; ``timeout``; ``disk``: a step wrote too much; ``ended``: as it was asked to; ``lost``: the supervisor
    was killed."""
    tail: str
    """The last of what it printed."""
    lock: str = ""
    """The short form of the lock that a build step wrote; empty where none did."""
    image: str = ""
    """Id of the image that was made, ``sha256:...``; empty where the build tool did not say it."""


class Job:
    """One job; its folder is its name, and all there is to know about it is in there.

    ``socket`` is where systemd starts supervisors, see ``deploy/install/unit_texts.py``; empty: it is done here.
    """

    def __init__(self, folder: Path, socket: str = "") -> None:
        self.folder = folder
        self._socket = socket

    @property
    def log(self) -> Path | None:
        """The log that a job in this folder writes; None where there is none."""
        try:
            body = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
            return Path(body["log"])
        except (OSError, ValueError, KeyError):
            return None

    def is_running(self) -> bool:
        """Whether a supervisor holds the folder's lock."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def outcome(self) -> Outcome | None:
        """Give the outcome; None while there is none."""
        try:
            body = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        said = (str(body.get(name, "")) for name in ("lock", "image"))
        return Outcome(int(body["code"]), str(body["reason"]), str(body["tail"]), *said)

    def clear(self) -> None:
        """Remove the folder and all in it. Idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start(self, spec: JobSpec) -> None:
        """Start it and return once it runs; the folder exists and holds no other job.

        Raises:
            BuildFailed: the supervisor did not start.
        """
        body = {
            "command": list(spec.command),
            # One that systemd starts does not inherit ours.
            "environment": {**(os.environ if self._socket else {}), **spec.environment},
            "log": str(spec.log.absolute()),
            "limit": spec.limit,
            "timeout": spec.timeout,
            "progress": spec.progress,
            "steps": spec.steps._asdict() if spec.steps else None,
            "started_at": time.time(),
        }
        await asyncio.to_thread(self._prepare, body)
        await (self._ask() if self._socket else self._fork())
        deadline = time.monotonic() + START_TIMEOUT
        while not await asyncio.to_thread((self.folder / "running.json").exists):
            if time.monotonic() > deadline:
                raise BuildFailed("The build could not be started: its supervisor does not run.")
            await asyncio.sleep(POLL / 4)

    async def _fork(self) -> None:
        # setsid forks: the supervisor is no child of ours, leaves no zombie, and gets no signal meant for us.
        process = await asyncio.create_subprocess_exec(
            *("setsid", "--fork", sys.executable, "-I", "-S", "-c", PROGRAM, str(self.folder.absolute()), SOURCES),
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.wait()

    async def _ask(self) -> None:
        """Have systemd start the supervisor, as a unit of its own."""
        try:
            async with asyncio.timeout(START_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                writer.write(f"{self.folder.absolute()}\n".encode())
                await reader.read()  # it hangs up when it has read the line
                writer.close()
        except (OSError, TimeoutError) as error:
            raise BuildFailed(
                f"The build could not be started: {self._socket} does not answer: {error}.",
                hint="systemctl status binderlet-job.socket",
            ) from error

    def _prepare(self, body: dict[str, object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # the environment may hold secrets
        for name in ("result.json", "running.json", "output"):
            (self.folder / name).unlink(missing_ok=True)
        supervisor.write_whole(str(self.folder), "job.json", body)

    async def wait(self, relay: Path | None = None) -> Outcome:
        """Wait for the outcome; ``relay`` is a log that gets the output from its first line on, too.

        Cancelling ends the waiting, not the job.
        """
        position = 0
        looks = 0
        while True:
            looks += 1
            outcome = await asyncio.to_thread(self._look, alive=looks % LOOK_FOR_LIFE == 0)
            if relay is not None:
                position = await asyncio.to_thread(self._relay, relay, position)
            if outcome is not None:
                return outcome
            await asyncio.sleep(POLL)

    def _look(self, *, alive: bool) -> Outcome | None:
        outcome = self.outcome()
        if outcome is None and alive and not self.is_running():
            return self.outcome() or Outcome(-signal.SIGKILL, "lost", "")
        return outcome

    def _relay(self, log: Path, position: int) -> int:
        try:
            with (self.folder / "output").open("rb") as source, log.open("ab") as target:
                source.seek(position)
                shutil.copyfileobj(source, target)
                return source.tell()
        except FileNotFoundError:
            return position

    async def end(self) -> None:
        """End it and all it started, and wait until it is gone. Idempotent."""
        await asyncio.to_thread(self._signal)
        for _ in range(int(3 * supervisor.GRACE / POLL)):
            if not await asyncio.to_thread(self.is_running):
                return
            await asyncio.sleep(POLL)

    def _signal(self) -> None:
        if not self.is_running():
            return
        try:
            pid = json.loads((self.folder / "running.json").read_text(encoding="utf-8"))["pid"]
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError, KeyError):
            return  # it ended between the two looks
