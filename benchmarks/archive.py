"""How fast a year of launches is imported: ten million events, made up and always the same.

The reference is a plain reader in the same run: one process, ``json.loads`` for each line, the same counts in
dictionaries, nothing stored. ``EVENTS=1000000`` makes a small run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from datetime import date
from pathlib import Path

import psutil

from benchmarks._figure import Figure, say
from binderlet.dashboard.example import example_events
from binderlet.dashboard.importing import import_archive
from binderlet.dashboard.store import StatisticsStore
from binderlet.dashboard.tallies import repository_of

EVENTS = int(os.environ.get("EVENTS", "10000000"))
DAYS = 365
FIRST = date(2026, 1, 1)
SEEN_EVERY = 0.1


class Memory(threading.Thread):
    """Watches what this process and its children take together, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Look again and again."""
        me = psutil.Process()
        while not self.ended.wait(SEEN_EVERY):
            taken = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    taken += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.most = max(self.most, taken)


def make(folder: Path) -> int:
    """Write the archive; gives its events."""
    total = 0
    for day, lines in example_events(FIRST, DAYS, EVENTS / DAYS * 1.003):
        (folder / f"events-{day}.jsonl").write_bytes(b"".join(lines))
        total += len(lines)
    return total


def cpu_seconds() -> float:
    """Give the CPU time of this process and of its children that have ended: right also on a busy machine."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def read_plainly(folder: Path) -> tuple[int, float, float]:
    """Count every tenth day the obvious way; gives events, seconds, and seconds of CPU."""
    launches: Counter[tuple[str, str]] = Counter()
    minutes: Counter[tuple[str, str]] = Counter()
    repositories: Counter[tuple[str, str, str]] = Counter()
    began, cpu = time.perf_counter(), cpu_seconds()
    for path in sorted(folder.glob("events-*.jsonl"))[::10]:
        with path.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                day, member = event["timestamp"][:10], event["origin"]
                launches[day, member] += 1
                minutes[event["timestamp"][:16], member] += 1
                repositories[day, member, repository_of(event["provider"], event["spec"])] += 1
    return launches.total(), time.perf_counter() - began, cpu_seconds() - cpu


async def main() -> None:
    """Make, import, count again, and print."""
    folder = Path(tempfile.mkdtemp(prefix="bench-archive-"))
    try:
        say(f"Making up {EVENTS:,} events")
        made = await asyncio.to_thread(make, folder)
        size = await asyncio.to_thread(lambda: sum(path.stat().st_size for path in folder.iterdir()))
        plain_events, plain_seconds, plain_cpu = await asyncio.to_thread(read_plainly, folder)
        say(f"Importing {made:,} events, {size / 1e9:.1f} GB")
        store = StatisticsStore(folder / "statistics.sqlite")
        memory = Memory()
        memory.start()
        began, cpu = time.perf_counter(), cpu_seconds()
        done = await import_archive(str(folder), store, tell=lambda _: None)
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        memory.ended.set()
        memory.join()
        first, last = store.extent() or (0, 0)
        began = time.perf_counter()
        counted = sum(row.launches for row in store.days(first, last))
        store.repositories(first, last)
        store.hours(first, last)
        asked = time.perf_counter() - began
        assert done.events == made == counted, (done, made, counted)
        stored = store.path.stat().st_size
    finally:
        shutil.rmtree(folder)
    detail = {
        "events": made,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "events_per_cpu_second": round(made / cpu),
        "plain_events_per_cpu_second": round(plain_events / plain_cpu),
        "json_gb": round(size / 1e9, 2),
        "stored_mb": round(stored / 1e6, 1),
        "memory_mb": round(memory.most / 1e6),
        "processes": len(os.sched_getaffinity(0)),
        "counting_the_year_seconds": round(asked, 2),
    }
    Figure("archive", made / seconds, plain_events / plain_seconds, "events/s", 1, detail).print()


if __name__ == "__main__":
    asyncio.run(main())
