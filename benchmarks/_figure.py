"""What every benchmark here shares: the form of its result, medians, and progress on standard error."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One result; ``ours`` and ``reference`` are medians measured in the same run."""

    name: str
    ours: float
    reference: float | None
    unit: str
    runs: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    def print(self) -> None:
        """Print it as the last line of standard output."""
        ratio = round(self.ours / self.reference, 4) if self.reference else None
        line = {
            "figure": self.name,
            "ours": round(self.ours, 4),
            "reference": None if self.reference is None else round(self.reference, 4),
            "ratio": ratio,
            "unit": self.unit,
            "runs": self.runs,
            "detail": self.detail,
        }
        print(json.dumps(line))


def say(text: str) -> None:
    """Tell how it comes along."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    """Append the block's duration."""
    began = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - began)


def measure(work: Callable[[], object]) -> float:
    """Give the duration of one call in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Give minimum, median and maximum."""
    return {
        "min": round(min(seconds), 4),
        "median": round(statistics.median(seconds), 4),
        "max": round(max(seconds), 4),
    }
