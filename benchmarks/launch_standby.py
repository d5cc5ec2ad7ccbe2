"""``launch_standby``: from the request for a launch to the first 200 of ``/lab``, where a standby waits to be adopted.

Reference: ``docker run`` of the same image, with the same command and limits, to the same page. The detail has the
same for ``docker start`` of a stopped container, and ours at the 95th percentile. Every standby is used once, so each
of ours waits for a fresh one first.
"""

from __future__ import annotations

import statistics
import time

from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import Floor, end_sessions, launch_to_first_page, running
from support.service import LiveService

RUNS = 20
REFERENCES = 5
WAIT = 60.0
SETTLE = 2.0
"""Seconds that a standby has been ready when it is asked for: nobody comes the very moment it answers."""


def main() -> None:
    """Measure and print."""
    ours: list[float] = []
    floor: list[float] = []
    restart: list[float] = []
    with running(standby__enabled=True, standby__every=0, standby__cpu=1.0, standby__floor=0.05) as (service, _, spec):
        launch_to_first_page(service, spec)
        end_sessions(service)
        for number in range(RUNS):
            await_standby(service)
            ours.append(measure(lambda: launch_to_first_page(service, spec)))
            end_sessions(service)
            say(f"{number + 1}/{RUNS}: ours {ours[-1]:.3f} s")
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
        "docker_run": summary(floor),
        "docker_start": summary(restart),
    }
    Figure("launch_standby", statistics.median(ours), statistics.median(floor), "s", RUNS, detail).print()


def await_standby(service: LiveService) -> None:
    """Wait until a standby has been ready for a moment."""
    deadline = time.monotonic() + WAIT
    while not service.admin("GET", "/status")[1]["standbys"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"No standby came:\n{service.last_lines()}")
        time.sleep(0.05)
    time.sleep(SETTLE)


if __name__ == "__main__":
    main()
