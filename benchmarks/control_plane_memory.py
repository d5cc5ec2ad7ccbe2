"""``control_plane_memory``: memory (PSS) of the control plane with HAProxy after 100 launches; idle in the detail."""

from __future__ import annotations

import time

import psutil

from benchmarks._figure import Figure, say
from benchmarks._launches import end_sessions, launch_to_first_page, running
from support.service import LiveService

LAUNCHES = 100
STEP = 10
SETTLE = 3.0
MB = 1024**2


def pss(service: LiveService) -> dict[str, float]:
    """Give the PSS of the control plane and of HAProxy, in MB."""
    assert service.process is not None
    control = psutil.Process(service.process.pid)
    folder = str(service.state / "run")
    proxies = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "haproxy" and any(folder in part for part in process.info["cmdline"] or [])
    ]
    return {
        "control_plane": sum(p.memory_full_info().pss for p in (control, *control.children(recursive=True))) / MB,
        "haproxy": sum(process.memory_full_info().pss for process in proxies) / MB,
    }


def main() -> None:
    """Measure and print."""
    with running() as (service, _, spec):
        time.sleep(SETTLE)
        idle = pss(service)
        say(f"idle: {idle}")
        course = []
        for number in range(1, LAUNCHES + 1):
            launch_to_first_page(service, spec)
            if number % STEP == 0:
                end_sessions(service)
                course.append(round(sum(pss(service).values()), 1))
                say(f"{number}/{LAUNCHES}: {course[-1]} MB")
        time.sleep(SETTLE)
        after = pss(service)
    detail = {
        "after_mb": {name: round(value, 1) for name, value in after.items()},
        "idle_mb": {name: round(value, 1) for name, value in idle.items()},
        "launches": LAUNCHES,
        "every_10_launches_mb": course,
        "growth_of_the_second_half_mb": round(course[-1] - course[len(course) // 2 - 1], 1),
    }
    Figure("control_plane_memory", sum(after.values()), None, "MB", 1, detail).print()


if __name__ == "__main__":
    main()
