"""``launch_concurrent``: ten launches of a built image at once, until each has answered 200 on ``/lab``.

Reference: ten times ``docker run`` of the same image at once. One batch of each in turn; a batch's figure is the time
until its last page, and the detail has the median visitor's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import Floor, end_sessions, launch_to_first_page, running

AT_ONCE = 10
BATCHES = 3


def batch(work: Callable[[int], object]) -> tuple[float, float]:
    """Do the work ten times at once; give the last one's and the median's duration."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = list(pool.map(lambda number: measure(lambda: work(number)), range(AT_ONCE)))
    return time.perf_counter() - began, statistics.median(each)


def main() -> None:
    """Measure and print."""
    ours: list[tuple[float, float]] = []
    floor: list[tuple[float, float]] = []
    with running() as (service, _, spec):
        reference = Floor(service, str(launch_to_first_page(service, spec)["image"]))
        end_sessions(service)
        for number in range(BATCHES):
            ours.append(batch(lambda _: launch_to_first_page(service, spec)))
            end_sessions(service)
            floor.append(batch(reference.run))
            reference.clean(AT_ONCE)
            say(f"{number + 1}/{BATCHES}: ours {ours[-1][0]:.2f} s, docker run {floor[-1][0]:.2f} s")
    last, reference_last = ([figure[0] for figure in figures] for figures in (ours, floor))
    detail = {
        "at_once": AT_ONCE,
        "ours_last": summary(last),
        "docker_run_last": summary(reference_last),
        "ours_median_visitor": summary([figure[1] for figure in ours]),
        "docker_run_median_visitor": summary([figure[1] for figure in floor]),
    }
    Figure(
        "launch_concurrent", statistics.median(last), statistics.median(reference_last), "s", BATCHES, detail
    ).print()


if __name__ == "__main__":
    main()
