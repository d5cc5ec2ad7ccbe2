"""How something long is shown."""

from __future__ import annotations

import io
import sys

import pytest

from binderlet.cli.progress import Live, Plain, Quiet, display
from binderlet.cli.stream import Event


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """As terminals do."""
        return True


def event(phase: str, message: str = "") -> Event:
    """An event of a launch."""
    return Event("", {"phase": phase, "message": message} if phase else {"message": message})


@pytest.fixture(autouse=True)
def terminal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of one size everywhere."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets the live display, everything else plain lines, --json nothing."""
    assert isinstance(display(stream=Terminal()), Live)
    assert type(display(stream=io.StringIO())) is Plain
    assert type(display(quiet=True, stream=Terminal())) is Quiet
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(display(), Live)


def test_quiet() -> None:
    """Quiet takes everything and shows nothing."""
    with display(quiet=True) as shown:
        shown.step("x")
        shown.event(event("building", "y"))


def test_plain() -> None:
    """Plain writes one line for each thing; a failure is left to the error."""
    stream = io.StringIO()
    with Plain(stream) as shown:
        shown.step("Starting HAProxy")
        shown.event(event("building", "Step 1\nStep 2\n"))
        shown.event(event("", "a line"))
        shown.event(event("failed", "It died."))
    assert stream.getvalue() == "==> Starting HAProxy\nbuilding: Step 1\nbuilding: Step 2\na line\n"


def test_live_steps() -> None:
    """Steps that are done stay on the screen with their time."""
    stream = Terminal()
    with display(stream=stream) as shown:
        shown.step("Looking for [engine]")
        shown.step("Starting HAProxy")
        shown.event(event("building", "Step 1\n"))
        shown.event(event("", ""))
    text = stream.getvalue()
    assert "Looking for [engine]" in text
    assert text.count("✓") == 2
    assert "✗" not in text


def test_live_failure() -> None:
    """When it fails, the end of the log is shown, and the step is marked."""
    stream = Terminal()

    def fail() -> None:
        with display(stream=stream) as shown:
            shown.step("Launching")
            for number in range(50):
                shown.event(event("building", f"line {number} [x]\n"))
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    tail = stream.getvalue().rpartition("✗")[2]
    assert "line 49 [x]" in tail
    assert "line 20 [x]" in tail
    assert "line 19 [x]" not in tail


def test_live_verbose() -> None:
    """With --verbose every line stays on the screen as it comes, and is not shown again."""
    stream = Terminal()
    with display(stream=stream, verbose=True) as shown:
        shown.event(event("building", "one\ntwo\n"))
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert any(line.endswith("one") for line in lines)
