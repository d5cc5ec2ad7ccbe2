"""Runs one build process to its end, whatever becomes of the control plane.

Started as a program of its own, see ``job.py``, in a session of its own and without site-packages, so it imports
nothing but the standard library and ``steps.py``. ``FOLDER/job.json`` says what to run. It appends the output to the
build's log, at most so many bytes, goes on reading what is beyond that so that the build never blocks, ends the whole
process group at the deadline or on SIGTERM, and leaves the outcome in ``FOLDER/result.json``, which appears whole or
not at all.

While it lives it holds a lock on ``FOLDER/lock``: that, unlike a process id, can never be another program's.
"""

# Importing pathlib would double the time that this program takes to start.
# ruff: noqa: PTH105, PTH118, PTH123

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import stat
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from binderlet.builder import steps

OUTPUT = re.compile(rb"#\d+ \d+\.\d+ ?(.*)", re.DOTALL)
STEP = re.compile(rb"#\d+ (\[[^\]]*\d+/\d+\] .*)", re.DOTALL)
EXPORT = re.compile(rb"#\d+ exporting (to image$|layers (\d+\.\d+)s done)")
IMAGE = re.compile(rb"#\d+ writing image (sha256:[0-9a-f]{64})")
NOISE = re.compile(rb"#\d+( |$)|-{6}$| > |\s*$|WARNING: (No output specified|buildx)")
OUR_STEP_FAILED = re.compile(rb"(ERROR: |error: )?(failed to solve|executor failed|process \")")
TAIL_BYTES = 64 * 1024
"""Bytes of the output's end that are kept for the message of a failure."""
LATE = "resolved.json"
"""A file in the job's folder that may be a named pipe, see ``late.py``."""
LATE_UNTIL = 15.0
"""Seconds after which nobody will write into it any more, as who should have is gone, and readers are sent away."""
GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL, and how long output is read after the process ended."""


class Readable:
    """Makes BuildKit's plain progress readable, line by line.

    ``steps`` keeps the Dockerfile's instructions, for those who wrote it; without it only what programs print is kept.
    """

    def __init__(self, *, steps: bool) -> None:
        self._steps = steps
        self._last_step = b""
        self._in_summary = False

    def line(self, line: bytes) -> bytes | None:
        """Give what to show of a line, or None."""
        if line.rstrip() == b"------":
            self._in_summary = not self._in_summary  # what a failed step printed, a second time
            return None
        if self._in_summary:
            return None
        if found := OUTPUT.match(line):
            return found[1]
        if self._steps and (found := STEP.match(line)):
            repeated, self._last_step = found[1] == self._last_step, found[1]
            return None if repeated else found[1]
        if NOISE.match(line):
            return _export(line)
        return None if not self._steps and self._is_our_script(line) else line

    @staticmethod
    def _is_our_script(line: bytes) -> bool:
        return b"/bin/bash -c" in line and OUR_STEP_FAILED.match(line) is not None


def _export(line: bytes) -> bytes | None:
    """Say that the image is being written, which takes a while, and how long it took."""
    found = EXPORT.match(line)
    if found is None:
        return None
    return b"Written in %s s." % found[2] if found[2] else b"Writing the image..."


class Translated:
    """Makes repo2docker's JSON log readable, and what BuildKit prints within it."""

    def __init__(self) -> None:
        self._readable = Readable(steps=True)

    def line(self, line: bytes) -> bytes | None:
        """Give what to show of a line, or None."""
        try:
            body = json.loads(line)
            message = str(body["message"])
        except (ValueError, KeyError, TypeError):
            return self._readable.line(line)
        if message.startswith("Error during build: Command '"):
            return None  # our own command line; what it printed comes before
        lines = message.rstrip().encode("utf-8", "replace").split(b"\n")
        shown = [text for text in map(self._readable.line, lines) if text is not None]
        return b"\n".join(shown) if shown else None


READERS: dict[str, Callable[[], Readable | Translated]] = {
    "steps": lambda: Readable(steps=True),
    "output": lambda: Readable(steps=False),
    "repo2docker": Translated,
}
"""How the process's output is made readable; any other name leaves it as it is."""


LOCK_MARK = b"binderlet-lock: "
"""Begins a line that is for the control plane, not for the log."""


class Output:
    """Takes the process's output: appends what fits to the log, and keeps the end in memory."""

    def __init__(self, log: int, copy: int, limit: int, progress: str) -> None:
        self._files = (log, copy)
        self._room = limit
        self._readable = READERS[progress]() if progress in READERS else None
        self._rest = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.dropped = 0
        self.lock = b""
        self.image = b""
        """Id of the last image that was made, where the build tool says it."""

    def feed(self, chunk: bytes) -> None:
        """Take more output; an unfinished line waits for its end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > TAIL_BYTES:
            lines.append(self._rest)
            self._rest = b""
        shown = lines
        for found in filter(None, map(IMAGE.match, lines)):
            self.image = found[1]
        if self._readable is not None:
            shown = [line for line in map(self._readable.line, lines) if line is not None]
        for line in [line for line in shown if line.startswith(LOCK_MARK)]:
            self.lock = line.removeprefix(LOCK_MARK)
            shown.remove(line)
        if shown:
            self._keep(b"".join(line + b"\n" for line in shown))

    def finish(self) -> None:
        """Take an unfinished line; where output was dropped, say so and add its end."""
        if self._rest:
            self.feed(b"\n")
        if self.dropped:
            notice = f"[{self.dropped} bytes of output are not kept; its last lines were:]\n".encode()
            self._write(notice + self.tail(TAIL_BYTES // 8))

    def tail(self, size: int = TAIL_BYTES) -> bytes:
        """Give the output's last bytes."""
        return b"".join(self._tail)[-size:]

    def _keep(self, text: bytes) -> None:
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) > TAIL_BYTES:
            self._tail_size -= len(self._tail.popleft())
        if len(text) <= self._room:
            self._room -= len(text)
            self._write(text)
        else:
            self._room = 0
            self.dropped += len(text)

    def _write(self, text: bytes) -> None:
        for file in self._files:
            # A full disk must not end the build's supervisor: the outcome still counts.
            with contextlib.suppress(OSError):
                os.write(file, text)


class Supervisor:
    """One process: started, read, ended in time."""

    def __init__(
        self,
        output: Output,
        *,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
        tend: Callable[[float], str] | None = None,
        late: str = "",
    ) -> None:
        self._output = output
        self._deadline = deadline
        self._clock = clock
        self._tend = tend
        self._tend_at = 0.0
        self._late = late
        self._late_until = clock() + LATE_UNTIL
        self._ending = ""
        self._kill_at: float | None = None

    def end(self, reason: str) -> None:
        """Ask for the process's end; the first reason counts. Safe in a signal handler."""
        self._ending = self._ending or reason

    def run(self, command: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
        """Run the command; gives its exit code and why it ended: ``exited``, ``timeout``, ``disk`` or ``ended``."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            pid = _spawn(command, environment, writing)
        except OSError as error:
            self._output.feed(f"{command[0]} cannot be started: {error.strerror}\n".encode())
            os.close(reading)
            return 127, "exited"
        finally:
            os.close(writing)
        try:
            status = self._read_until_ended(reading, pid)
        finally:
            os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it left behind in its group
        return os.waitstatus_to_exitcode(status), self._ending or "exited"

    def _read_until_ended(self, reading: int, pid: int) -> int:
        """Read output until the process has ended and its pipe is empty; gives its wait status."""
        is_open = True
        while True:
            if is_open and select.select([reading], [], [], steps.EVERY)[0]:
                chunk = os.read(reading, 262144)
                is_open = bool(chunk)
                self._output.feed(chunk)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._drain(reading)
                return status
            if not is_open:
                time.sleep(0.005)  # it has closed its output; mostly it ends at once
            self._enforce(pid)

    def _drain(self, reading: int) -> None:
        """Read what is left in the pipe, but do not wait for grandchildren that keep it open."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(reading, 262144):
                self._output.feed(chunk)

    def _enforce(self, pid: int) -> None:
        now = self._clock()
        if not self._ending and now >= self._deadline:
            self.end("timeout")
        if self._tend is not None and not self._ending and now >= self._tend_at:
            self._tend_at = now + steps.EVERY
            self._ending = self._tend(now)
        if self._late and now >= self._late_until:
            self._late_until = now + 1.0
            hang_up(self._late)
        if not self._ending:
            return
        sign = signal.SIGTERM
        if self._kill_at is None:
            self._kill_at = now + GRACE
        elif now >= self._kill_at:
            sign = signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, sign)


def hang_up(pipe: str) -> None:
    """Let who reads from a pipe see its end; does nothing where nobody does."""
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def _spawn(command: Sequence[str], environment: dict[str, str], output: int) -> int:
    """Start the command in a session of its own; its pid is its group's id."""
    return os.posix_spawnp(
        command[0],
        list(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
    )


def is_pipe(path: str) -> bool:
    """Whether there is a named pipe."""
    try:
        return stat.S_ISFIFO(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def hold(folder: str) -> int | None:
    """Take the folder's lock; gives its descriptor, or None where another process has it."""
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(10):  # whoever looks whether we live holds it for a moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return lock
    os.close(lock)
    return None


def write_whole(folder: str, name: str, body: dict[str, Any]) -> None:
    """Write a JSON file that appears whole or not at all."""
    path = os.path.join(folder, name)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(body, file)
    os.replace(f"{path}.new", path)


def tending(limits: steps.Limits) -> Callable[[float], str]:
    """Give what keeps the steps in their place: this process, or the root helper."""
    if not limits.helper:
        return steps.Steps(limits).tend
    from binderlet.clients.helper import Tending  # noqa: PLC0415 - its imports take a while, and only it needs them

    names = ("mark", "share", "processes", "oom_score", "disk")
    return Tending(limits.helper, {name: getattr(limits, name) for name in names}).tend


def main(folder: str) -> int:
    """Run the job of a folder; gives 0 when its outcome is written, 75 where another supervisor has it."""
    lock = hold(folder)
    if lock is None:
        return 75
    with open(os.path.join(folder, "job.json"), encoding="utf-8") as file:
        job = json.load(file)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(job["log"], flags, 0o644)
    copy = os.open(os.path.join(folder, "output"), flags, 0o644)
    output = Output(log, copy, job["limit"], job["progress"])
    tend = tending(steps.Limits(**job["steps"])) if job["steps"] else None
    late = os.path.join(folder, LATE)
    deadline = time.monotonic() + job["timeout"]
    supervisor = Supervisor(output, deadline=deadline, tend=tend, late=late if is_pipe(late) else "")

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        supervisor.end("ended")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    write_whole(folder, "running.json", {"pid": os.getpid()})
    code, reason = supervisor.run(job["command"], {**os.environ, **job["environment"]})
    output.finish()
    body = {"code": code, "reason": reason, "tail": output.tail().decode("utf-8", "replace")}
    body["lock"] = output.lock.decode("utf-8", "replace")
    body["image"] = output.image.decode()
    write_whole(folder, "result.json", body)
    for file_number in (log, copy, lock):
        os.close(file_number)
    return 0
