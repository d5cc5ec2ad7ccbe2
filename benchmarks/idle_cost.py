"""CPU that hibernated sessions and their keeper take while nobody is there, in per cent of one core."""

from __future__ import annotations

import time

import psutil

from benchmarks._crowd import count, crowd, median_mib
from benchmarks._figure import Figure, say

SESSIONS = count("SESSIONS", 200)
SECONDS = count("SECONDS", 60)


def main() -> None:
    """Measure it."""
    with crowd(SESSIONS, hibernate__every="10s", cull__every="30s") as made:
        made.wait_hibernated(share=1.0)
        process = made.service.process
        assert process is not None
        keeper = psutil.Process(process.pid)
        before, own = sum(one.cpu for one in made.usage()), keeper.cpu_times()
        say(f"watching {SECONDS} s")
        time.sleep(SECONDS)
        after, later = sum(one.cpu for one in made.usage()), keeper.cpu_times()
        sessions = 100 * (after - before) / SECONDS
        control = 100 * (later.user + later.system - own.user - own.system) / SECONDS
        resident = median_mib(made.usage())
    detail = {"sessions": SESSIONS, "control_plane_percent": round(control, 2), "resident_mb": round(resident, 1)}
    Figure("idle_cost", sessions + control, None, "% of a core", 1, detail).print()


if __name__ == "__main__":
    main()
