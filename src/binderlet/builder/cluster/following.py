"""One build as the control plane follows it, and how the next control plane finds in its log where to go on."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from binderlet.builder.cluster.messages import Anew, Line, Message, Order, Stray
from binderlet.errors import BinderletError
from binderlet.events.buildlog import BuildLog

MARK = "Building in the cluster, in "
"""Begins the line of the log that names the pod whose lines have numbers from there on."""


@dataclass(slots=True)
class Following:
    """One build, wherever it is."""

    order: Order
    checkout: Path | None
    log: BuildLog
    pod: str = ""
    """Name of the pod whose lines come last in the log."""
    seen: int = 0
    """How many of its lines are there; others' lines beside them do not count."""
    problem: BinderletError | None = None
    """Why its checkout could not be sent."""

    def begin(self, pod: str) -> None:
        """Say that from here on lines are a pod's, from its first on."""
        self.pod, self.seen = pod, 0
        self.log.write(f"{MARK}{pod}.")

    def note(self, message: Message) -> None:
        """Write what a pod says to the log; signs of life are not for it."""
        match message:
            case Line(text, phase):
                self.seen += 1
                self.log.write(text, phase, number=self.seen)
            case Stray(text):
                self.log.write(text)
            case Anew():
                self.begin(self.pod)
            case _:
                return


def last_seen(path: Path) -> tuple[str, int]:
    """Give the pod that a log names last, and the number of its last line that is there. Blocks on the disk."""
    pod, seen = "", 0
    try:
        with path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    body = json.loads(line)
                    if number := int(body.get("number", 0)):
                        seen = number
                    elif (message := str(body["message"])).startswith(MARK):
                        pod, seen = message.removeprefix(MARK).rstrip("."), 0
    except FileNotFoundError:
        return "", 0
    return (pod, seen) if pod else ("", 0)
