"""Shows how something long comes along: a live display on a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Column

    from binderlet.cli.stream import Event

STEPS = {"waiting": 0, "fetching": 1, "building": 2, "pushing": 3, "built": 4, "launching": 5, "ready": 6, "failed": 6}
KEPT_LINES = 30
"""Lines of the log that are shown again when it fails."""


class Display(Protocol):
    """Something that shows a launch or the start of the service; a context manager."""

    def step(self, text: str) -> None:
        """Say what begins now; what was said before is done."""

    def event(self, event: Event) -> None:
        """Show an event of a launch."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing; what was shown last is done, or failed where there is an error."""


class Quiet:
    """Shows nothing."""

    def step(self, text: str) -> None:
        """As ``Display.step``."""

    def event(self, event: Event) -> None:
        """As ``Display.event``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class Plain(Quiet):
    """One line for each thing, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def step(self, text: str) -> None:
        """As ``Display.step``."""
        self._line(f"==> {text}")

    def event(self, event: Event) -> None:
        """As ``Display.event``."""
        if event.phase == "failed":
            return  # the error says it
        for line in event.message.splitlines():
            self._line(f"{event.phase + ': ' if event.phase else ''}{line}")

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class Live:
    """A bar with the phase, the newest line and the time; the end of the log stays on the screen when it fails."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._verbose = verbose
        self._console = Console(file=stream)
        self._progress: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[line]}", table_column=_one_line()),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("Starting", total=None, line="")
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._doing = ""
        self._since = time.monotonic()

    def step(self, text: str) -> None:
        """As ``Display.step``."""
        self._done()
        self._doing, self._since = text, time.monotonic()
        self._progress.update(self._task, description=text, total=None, line="")

    def event(self, event: Event) -> None:
        """As ``Display.event``."""
        lines = event.message.splitlines()
        self._lines.extend(lines)
        if self._verbose:
            for line in lines:
                self._console.print(line, markup=False, highlight=False)
        phase = event.phase or "building"
        self._progress.update(
            self._task,
            description=phase.capitalize(),
            total=STEPS["ready"],
            completed=STEPS.get(phase, STEPS["building"]),
            line=_escaped(lines[-1]) if lines else "",
        )

    def _done(self, mark: str = "[green]✓[/]") -> None:
        if self._doing:
            seconds = time.monotonic() - self._since
            self._console.print(f"{mark} {_escaped(self._doing)} [dim]{seconds:.1f} s[/]", highlight=False)
            self._doing = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._done("[green]✓[/]" if kind is None else "[red]✗[/]")
        self._progress.stop()
        if kind is not None and not self._verbose:
            for line in self._lines:
                self._console.print(f"  {line}", style="dim", markup=False, highlight=False)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _one_line() -> Column:
    from rich.table import Column

    return Column(no_wrap=True, overflow="ellipsis", ratio=1)


def display(*, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None) -> Display:
    """Give the display that suits where the output goes: standard error, unless another stream is given."""
    stream = stream or sys.stderr
    if quiet:
        return Quiet()
    if stream.isatty():
        return Live(stream, verbose=verbose)
    return Plain(stream)
