"""Minutes from a bare machine to its first session, with the one command that a person types."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks._figure import Figure, measure, say
from benchmarks._vm import OPTIONS, SITE, bare_machine, nothing_prepared
from support.vm import let_in

PARTS = {"preparing": "program_s", "packages:": "machine_s", "waiting for": "base_image_s"}
"""With what each part's first line begins, and its name."""


def install(command: Sequence[str]) -> dict[str, float]:
    """Run it, showing what it says; gives the seconds of each part."""
    began: list[tuple[str, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            say(line.rstrip())
            began += [(part, time.perf_counter()) for start, part in PARTS.items() if line.startswith(start)]
    if running.returncode:
        raise SystemExit("The installation failed: see above.")
    ends = [*(at for _, at in began[1:]), time.perf_counter()]
    return {part: end - at for (part, at), end in zip(began, ends, strict=True)}


def main() -> None:
    """Deploy once, and launch the example."""
    parts: dict[str, float] = {}
    with bare_machine(bare=True) as (vm, wheel), nothing_prepared(vm, wheel.parent) as anew:
        way, _ = let_in(vm, SITE, wheel.parent)
        options = ["--wheel", str(wheel), *shlex.split(f"{OPTIONS} {anew}")]
        steps = [[sys.executable, "-m", "binderlet.cli", "deploy", *way, *options]]
        installed = measure(lambda: [parts.update(install(step)) for step in steps])
        first = measure(lambda: vm.must("binderlet check"))
        again = measure(lambda: vm.must("binderlet install"))
        vm.must("binderlet uninstall --keep-images")
    seconds = {**parts, "first_session_s": first, "install_again_s": again}
    detail = {"steps": len(steps), **{name: round(value, 1) for name, value in seconds.items()}}
    Figure("install", (installed + first) / 60, None, "minutes", 1, detail).print()


if __name__ == "__main__":
    main()
