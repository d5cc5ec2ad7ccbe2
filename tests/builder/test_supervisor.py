"""The program that runs one build process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binderlet.builder import supervisor
from binderlet.builder.job import PROGRAM, SOURCES
from binderlet.builder.steps import Limits, Steps
from binderlet.builder.supervisor import Output, Readable, Supervisor, hold, main
from binderlet.clients.helper import Tending

PROGRESS = b"""\
#1 [internal] load build definition from Dockerfile
#1 sha256:61e916a99f953edaf3b1342b9adb75dbd36bba0acb0161837623307ca710d7eb
#1 transferring dockerfile: 536B done
#1 DONE 0.0s

#4 [stage-0 1/2] FROM docker.io/library/base
#4 CACHED
#7 [stage-0 2/2] RUN make
#7 sha256:9d4df081a413c97ac8444e779c1ed98bff863ba37612dcda5eddd86d07494ac3
#7 0.297 one
#7 0.304
#8 exporting to image
#8 exporting layers
#8 exporting layers 0.7s done
#7 [stage-0 2/2] RUN make
#7 12.5 ------
#7 ERROR: executor failed running [/bin/bash -c make]: exit code: 3
------
 > [stage-0 2/2] RUN make:
#7 0.297 one
------
executor failed running [/bin/bash -c make]: exit code: 3
failed to solve: base: not found"""


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (
            True,
            [
                "[stage-0 1/2] FROM docker.io/library/base",
                "[stage-0 2/2] RUN make",
                "one",
                "",
                "Writing the image...",
                "Written in 0.7 s.",
                "------",
                "executor failed running [/bin/bash -c make]: exit code: 3",
                "failed to solve: base: not found",
            ],
        ),
        (False, ["one", "", "Writing the image...", "Written in 0.7 s.", "------", "failed to solve: base: not found"]),
    ],
)
def test_readable(*, steps: bool, shown: list[str]) -> None:
    """Of BuildKit's progress, what programs print is kept, and the steps for those who wrote them."""
    readable = Readable(steps=steps)
    lines = [readable.line(line) for line in PROGRESS.split(b"\n")]
    assert [line.decode() for line in lines if line is not None] == shown


class Files:
    """A log and its copy."""

    def __init__(self, folder: Path) -> None:
        self.log, self.copy = folder / "log", folder / "output"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.numbers = [os.open(path, flags, 0o600) for path in (self.log, self.copy)]

    def output(self, limit: int = 1000, progress: str = "raw") -> Output:
        """Give an output that writes them."""
        return Output(self.numbers[0], self.numbers[1], limit, progress)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """A log and its copy, closed afterwards."""
    made = Files(tmp_path)
    yield made
    for number in made.numbers:
        os.close(number)


def test_output_goes_to_log_and_copy(files: Files) -> None:
    """Whole lines are written; a last line without line end is, too."""
    output = files.output()
    output.feed(b"one\ntw")
    assert files.log.read_bytes() == b"one\n"
    output.feed(b"o\nthree")
    output.finish()
    assert files.log.read_bytes() == files.copy.read_bytes() == b"one\ntwo\nthree\n"
    assert output.tail() == b"one\ntwo\nthree\n"


def test_output_beyond_the_limit(files: Files) -> None:
    """What does not fit is counted and dropped, but for its end."""
    output = files.output(limit=10)
    for number in range(1000):
        output.feed(b"line %d\n" % number)
    output.finish()
    text = files.log.read_bytes()
    assert text.startswith(b"line 0\n[")
    assert b"bytes of output are not kept" in text
    assert text.endswith(b"line 999\n")
    assert output.dropped > 8000


def test_tail_is_bounded(files: Files) -> None:
    """The end that is kept in memory stays small, also when nothing but one endless line comes."""
    output = files.output(limit=1)
    for _ in range(40):
        output.feed(b"x" * 20_000)
    output.finish()
    assert len(output.tail()) <= supervisor.TAIL_BYTES
    assert files.log.stat().st_size < supervisor.TAIL_BYTES


def test_output_of_buildkit_is_made_readable(files: Files) -> None:
    """Lines that say nothing do not even count."""
    output = files.output(progress="output")
    output.feed(b"#1 DONE 0.0s\n#2 0.1 hello\n")
    output.finish()
    assert files.log.read_bytes() == b"hello\n"


def test_full_disk_does_not_end_the_build(tmp_path: Path) -> None:
    """Output that cannot be written is lost, no more."""
    full = os.open("/dev/full", os.O_WRONLY)
    output = Output(full, full, 1000, "raw")
    output.feed(b"x\n")
    output.finish()
    os.close(full)
    assert output.tail() == b"x\n"


def run(files: Files, *command: str, deadline: float = 15.0) -> tuple[int, str]:
    """Run a program under a supervisor."""
    output = files.output()
    made = Supervisor(output, deadline=time.monotonic() + deadline)
    outcome = made.run(command, dict(os.environ))
    output.finish()
    return outcome


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("echo out; echo err >&2; exit 3", 3, "out\nerr\n"),
        ("kill -9 $$", -9, ""),
        ("exec >/dev/null 2>&1; sleep 0.1; exit 4", 4, ""),
        ("sleep 60 & echo left", 0, "left\n"),
    ],
)
def test_run(files: Files, script: str, code: int, text: str) -> None:
    """Exit codes, both outputs, closed outputs, and children that stay behind."""
    started = time.monotonic()
    assert run(files, "sh", "-c", script) == (code, "exited")
    assert files.log.read_text() == text
    assert time.monotonic() - started < 10


def test_what_is_left_in_the_pipe_is_read(files: Files) -> None:
    """Output that a process wrote just before its end is not lost, though a child keeps the pipe open."""
    output = files.output()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b"the end\n")
    Supervisor(output, deadline=0.0)._drain(reading)
    os.close(reading)
    os.close(writing)
    assert output.tail() == b"the end\n"


def test_absent_program(files: Files) -> None:
    """A program that is not there is an ordinary failure, in words."""
    assert run(files, "/no/such/program") == (127, "exited")
    assert "cannot be started: No such file" in files.log.read_text()


def test_deadline(files: Files) -> None:
    """At the deadline the whole group is asked to end."""
    assert run(files, "sh", "-c", "sleep 60 & wait", deadline=0.2)[1] == "timeout"


def test_steps_that_write_too_much(files: Files) -> None:
    """What the steps did wrong ends the process, and is the reason; they are looked at again and again until then."""
    answers = ["", "", "disk"]
    made = Supervisor(files.output(), deadline=time.monotonic() + 15, tend=lambda _: answers.pop(0))
    assert made.run(["sleep", "60"], dict(os.environ)) == (-signal.SIGTERM, "disk")


def test_who_waits_at_a_pipe(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is left who could write, readers get nothing, whenever they come, instead of waiting for ever."""
    pipe = tmp_path / "resolved.json"
    os.mkfifo(pipe)
    monkeypatch.setattr(supervisor, "LATE_UNTIL", 0.1)
    made = Supervisor(files.output(), deadline=time.monotonic() + 15, late=str(pipe))
    assert made.run(["sh", "-c", f"cat {pipe}; sleep 0.2; cat {pipe}; exit 3"], dict(os.environ)) == (3, "exited")


def test_deadline_of_the_stubborn(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not end when asked is killed."""
    monkeypatch.setattr(supervisor, "GRACE", 0.3)
    script = "trap '' TERM; while :; do sleep 0.05; done"
    assert run(files, "sh", "-c", script, deadline=0.2) == (-9, "timeout")


def test_lock(tmp_path: Path) -> None:
    """One supervisor per folder."""
    lock = hold(str(tmp_path))
    assert lock is not None
    assert hold(str(tmp_path)) is None
    os.close(lock)


def write_job(folder: Path, *command: str) -> None:
    """Ask for a job."""
    body = {
        "command": command,
        "environment": {"WHO": "me"},
        "log": str(folder / "log"),
        "limit": 1000,
        "timeout": 15.0,
        "progress": "raw",
        "steps": None,
    }
    supervisor.write_whole(str(folder), "job.json", body)


@pytest.fixture
def kept_signals() -> Iterator[None]:
    """Put this process's signal handlers back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_main(tmp_path: Path, kept_signals: None) -> None:
    """A job's outcome is in its folder."""
    write_job(tmp_path, "sh", "-c", "echo hello $WHO; exit 5")
    assert main(str(tmp_path)) == 0
    body = json.loads((tmp_path / "result.json").read_text())
    assert body == {"code": 5, "reason": "exited", "tail": "hello me\n", "lock": "", "image": ""}
    assert (tmp_path / "log").read_text() == "hello me\n"
    assert json.loads((tmp_path / "running.json").read_text()) == {"pid": os.getpid()}


def test_main_with_a_pipe(tmp_path: Path, kept_signals: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe in the job's folder that nobody writes to does not hold the job up for ever."""
    monkeypatch.setattr(supervisor, "LATE_UNTIL", 0.1)
    os.mkfifo(tmp_path / supervisor.LATE)
    write_job(tmp_path, "cat", str(tmp_path / supervisor.LATE))
    assert main(str(tmp_path)) == 0
    assert json.loads((tmp_path / "result.json").read_text())["code"] == 0


def test_main_ends_on_a_signal(tmp_path: Path, kept_signals: None) -> None:
    """SIGTERM ends the job, and the outcome says so."""
    write_job(tmp_path, "sleep", "60")
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert main(str(tmp_path)) == 0
    timer.join()
    assert json.loads((tmp_path / "result.json").read_text())["reason"] == "ended"


def test_main_of_a_folder_that_is_taken(tmp_path: Path) -> None:
    """A second supervisor leaves the folder alone."""
    lock = hold(str(tmp_path))
    assert main(str(tmp_path)) == 75
    assert lock is not None
    os.close(lock)


def test_as_a_program(tmp_path: Path) -> None:
    """It needs nothing but the standard library and our sources, wherever it is started."""
    write_job(tmp_path, "true")
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path), SOURCES]
    assert subprocess.run(command, check=False, cwd="/").returncode == 0
    assert json.loads((tmp_path / "result.json").read_text())["code"] == 0


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b'{"message": "#5 0.3 Installing\\n", "phase": "building"}', b"Installing"),
        (b'{"message": "#5 [3/9] RUN x\\n"}', b"[3/9] RUN x"),
        (b'{"message": "#5 DONE 0.1s\\n"}', None),
        (b'{"message": "Error during build: Command \'[docker]\' returned 1", "exc_info": "..."}', None),
        (b'{"message": "Error during build: R 9 is not supported"}', b"Error during build: R 9 is not supported"),
        (b'{"message": "one\\ntwo"}', b"one\ntwo"),
        (b'{"other": 1}', b'{"other": 1}'),
        (b"[1]", b"[1]"),
        (b"Traceback", b"Traceback"),
    ],
)
def test_repo2docker_log(line: bytes, shown: bytes | None) -> None:
    """Of repo2docker's JSON lines the message is shown, as BuildKit's own lines would be."""
    assert supervisor.READERS["repo2docker"]().line(line) == shown


def test_lock_is_taken_out(tmp_path: Path) -> None:
    """The line with an environment's lock is kept for the control plane and is not shown."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    output = Output(log, log, 1000, "output")
    output.feed(b"#5 0.1 one\n#5 0.2 binderlet-lock: {}\n#5 0.3 two\n")
    os.close(log)
    assert (output.lock, output.tail()) == (b"{}", b"one\ntwo\n")


@pytest.mark.parametrize("progress", ["output", "steps", "raw"])
def test_which_image_was_made(tmp_path: Path, progress: str) -> None:
    """The last image's id is kept, whether the line is shown or not."""
    with (tmp_path / "log").open("wb") as log:
        output = Output(log.fileno(), log.fileno(), 1000, progress)
        output.feed(b"#8 writing image sha256:%b 0.1s done\n#9 writing image sha256:%b done\n" % (b"a" * 64, b"b" * 64))
    assert output.image == b"sha256:" + b"b" * 64


def test_who_tends_the_steps() -> None:
    """This process, or the root helper where there is one."""
    assert isinstance(getattr(supervisor.tending(Limits()), "__self__", None), Steps)
    asked = supervisor.tending(Limits(helper="/nonexistent"))
    assert isinstance(getattr(asked, "__self__", None), Tending)
    assert asked(0.0) == ""
