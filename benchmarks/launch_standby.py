"""``launch_standby``: from the request for a launch to the first 200 of ``/lab``, where a standby waits to be adopted.

The detail has the same for standbys that were pushed out to swap before.

Reference: ``docker run`` of the same image, with the same command and limits, to the same page. The detail has the
same for ``docker start`` of a stopped container, and ours at the 95th percentile. Every standby is used once, so each
of ours waits for a fresh one first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

from benchmarks._crowd import count, room
from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import Floor, end_sessions, launch_to_first_page, running
from support.service import LiveService

RUNS = count("RUNS", 20)
REFERENCES = 5
WAIT = 60.0
SETTLE = 2.0
"""Seconds that a standby has been ready when it is asked for: nobody comes the very moment it answers."""


def main() -> None:
    """Measure and print."""
    floor: list[float] = []
    restart: list[float] = []
    ours = adoptions(RUNS)
    with room():
        swapped = adoptions(RUNS, hibernated=True, hibernate__after="1s", hibernate__every="0.5s")
    with running() as (service, _, spec):
        reference = Floor(service, str(launch_to_first_page(service, spec)["image"]))
        end_sessions(service)
        for number in range(REFERENCES):
            floor.append(measure(lambda: reference.run(keep=True)))
            reference.stop()
            restart.append(measure(reference.start_again))
            reference.clean()
            say(f"{number + 1}/{REFERENCES}: docker run {floor[-1]:.3f} s, docker start {restart[-1]:.3f} s")
    detail = {
        "ours": summary(ours),
        "ours_p95": round(statistics.quantiles(ours, n=20)[-1], 4),
        "from_swap": summary(swapped),
        "from_swap_p95": round(statistics.quantiles(swapped, n=20)[-1], 4),
        "docker_run": summary(floor),
        "docker_start": summary(restart),
    }
    Figure("launch_standby", statistics.median(ours), statistics.median(floor), "s", RUNS, detail).print()


def adoptions(runs: int, *, hibernated: bool = False, **settings: object) -> list[float]:
    """Launch again and again where a standby waits; gives the seconds of each."""
    ours: list[float] = []
    ahead = {"standby__enabled": True, "standby__every": 0, "standby__cpu": 1.0, "standby__floor": 0.05}
    with running(**ahead, **settings) as (service, _, spec):
        launch_to_first_page(service, spec)
        end_sessions(service)
        for number in range(runs):
            await_standby(service, hibernated=hibernated)
            ours.append(measure(lambda: launch_to_first_page(service, spec)))
            end_sessions(service)
            say(f"{number + 1}/{runs}: ours{' from swap' * hibernated} {ours[-1]:.3f} s")
    return ours


def await_standby(service: LiveService, *, hibernated: bool = False) -> None:
    """Wait until a standby has been ready for a moment, and all of them are in swap where that is asked for."""
    deadline = time.monotonic() + WAIT
    while not is_there(service.admin("GET", "/status")[1], hibernated=hibernated):
        if time.monotonic() > deadline:
            raise TimeoutError(f"No standby came:\n{service.last_lines()}")
        time.sleep(0.05)
    time.sleep(SETTLE)


def is_there(status: Mapping[str, Any], *, hibernated: bool) -> bool:
    """Whether a standby waits, in swap where that is asked for; nobody else's session is there then."""
    return bool(status["standbys"]) and (not hibernated or status["hibernated"] == status["standbys"])


if __name__ == "__main__":
    main()
