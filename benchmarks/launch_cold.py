"""``launch_cold``: from the request for a launch of a built image to the first 200 of ``/lab``.

Reference: ``docker run`` of the same image, with the same command and limits, to the same page. One of each in turn.
"""

from __future__ import annotations

import statistics

from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import Floor, end_sessions, launch_to_first_page, running

RUNS = 9


def main() -> None:
    """Measure and print."""
    ours: list[float] = []
    floor: list[float] = []
    with running() as (service, _, spec):
        image = str(launch_to_first_page(service, spec)["image"])
        reference = Floor(service, image)
        end_sessions(service)
        for number in range(RUNS):
            ours.append(measure(lambda: launch_to_first_page(service, spec)))
            end_sessions(service)
            floor.append(measure(reference.run))
            reference.clean()
            say(f"{number + 1}/{RUNS}: ours {ours[-1]:.3f} s, docker run {floor[-1]:.3f} s")
    detail = {"ours": summary(ours), "docker_run": summary(floor)}
    Figure("launch_cold", statistics.median(ours), statistics.median(floor), "s", RUNS, detail).print()


if __name__ == "__main__":
    main()
