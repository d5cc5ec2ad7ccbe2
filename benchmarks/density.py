"""Sessions alive and answering at once on this machine, beside the same without hibernation.

The detail has what the capacity model says of the same load: given what one session takes while it is used, what
memory is left with so many sessions, of which so many are hibernated. Makes the pictures of
``docs/explanation/density.md`` where PICTURES names a folder.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import psutil

from benchmarks._crowd import MIB, Crowd, count, crowd, median_mib, share
from benchmarks._figure import Figure, say
from binderlet.clients.memory import read_hardware
from binderlet.sessions.capacity import QUIET, Load, capacity, memory_needed, planned

SESSIONS = count("SESSIONS", 400)
ALONE = count("ALONE", 20)
GIB = 1024**3
SESSION_MEMORY = 2 * GIB
"""What a session may take by default."""


def main() -> None:
    """Fill the machine, hibernate, and ask everybody."""
    total = psutil.virtual_memory().total
    with crowd(ALONE, hibernate__enabled=False) as made:
        awake = median_mib(made.usage())
    reference = int((total - GIB) / (awake * MIB) / (total / GIB))
    say(f"without hibernation: {awake:.0f} MB each, {reference} sessions per GB")
    with crowd(SESSIONS) as made:
        made.wait_hibernated()
        model = compare(made, awake)
        seconds = made.ask_all()
        made.look("all have answered")
        again = made.ask_all()
        places = capacity(read_hardware(), planned(SESSION_MEMORY))
        resident = median_mib(made.usage())
        alive = made.service.admin("GET", "/status")[1]["sessions"]
    detail = {
        "asked": SESSIONS,
        "answered": len(seconds),
        "lost": SESSIONS - alive,
        "first_p50_s": round(statistics.median(seconds), 3),
        "first_p95_s": round(share(seconds, 0.95), 3),
        "next_p95_s": round(share(again, 0.95), 3),
        "least_available_gb": round(made.lowest / GIB, 2),
        "awake_mb": round(awake, 1),
        "after_answer_mb": round(resident, 1),
        "per_gb": round(SESSIONS / (total / GIB), 1),
        "per_gb_without": reference,
        "places": str(places),
        "model": model,
    }
    if folder := os.environ.get("PICTURES"):
        pictures(Path(folder), made, seconds)
    Figure("density", alive, None, "sessions", 1, detail).print()


def compare(made: Crowd, awake: float) -> dict[str, float]:
    """Add to the story what the model says of each moment, and give how far it is from what was measured.

    The model is told the size of a session that is used and how many are hibernated; the rest are its constants.
    """
    hardware, first = read_hardware(), made.story[0]["available"]
    for look in made.story:
        share = 1 - look["hibernated"] / max(1, look["sessions"])
        load = Load(used=awake * MIB, quiet=QUIET, swapped=awake * MIB, awake=share)
        look["predicted"] = round(first - memory_needed(int(look["sessions"]), hardware, load) / MIB)
        look["predicted_swap"] = round(look["hibernated"] * load.swapped / MIB)
    last, memory = made.story[-1], hardware.memory / MIB
    errors = [abs(look["available"] - look["predicted"]) / memory for look in made.story]
    return {
        "predicted_available_gb": round(last["predicted"] / 1024, 2),
        "measured_available_gb": round(last["available"] / 1024, 2),
        "predicted_swap_gb": round(last["predicted_swap"] / 1024, 2),
        "measured_swap_gb": round(last["swap_used"] / 1024, 2),
        "largest_error_percent_of_memory": round(100 * max(errors), 1),
    }


def pictures(folder: Path, made: Crowd, seconds: list[float]) -> None:
    """Draw what was measured, and keep the numbers beside it."""
    mpl.rcParams["svg.hashsalt"] = "binderlet"
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("svg")
    figure, axes = plt.subplots(figsize=(8, 4))
    times = [look["seconds"] for look in made.story]
    for key in ("sessions", "hibernated"):
        axes.plot(times, [look[key] for look in made.story], label=key)
    axes.set(xlabel="seconds", ylabel="sessions")
    memory = axes.twinx()
    for key, label in (("available", "memory available"), ("swap_used", "swap used")):
        memory.plot(times, [look[key] / 1024 for look in made.story], "--", label=label)
    expected = [look for look in made.story if "predicted" in look]
    memory.plot(
        [look["seconds"] for look in expected],
        [look["predicted"] / 1024 for look in expected],
        ":",
        color="black",
        label="memory available, by the model",
    )
    memory.set_ylabel("GB (dashed)")
    memory.set_ylim(bottom=0)
    figure.legend(loc="upper center", ncol=3)
    figure.savefig(folder / "density.svg", metadata={"Date": None})
    figure, axes = plt.subplots(figsize=(8, 4))
    ordered = sorted(seconds)
    axes.plot([1000 * second for second in ordered], [100 * (i + 1) / len(ordered) for i in range(len(ordered))])
    axes.set(xlabel="milliseconds to the first answer after hibernation", ylabel="% of sessions")
    axes.set_xlim(left=0)
    figure.savefig(folder / "wake.svg", metadata={"Date": None})
    (folder / "density.json").write_text(json.dumps({"story": made.story, "first_answer": ordered}) + "\n")


if __name__ == "__main__":
    main()
