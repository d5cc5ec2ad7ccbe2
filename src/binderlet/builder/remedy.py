"""Offers the commit's own date, and a Python for it, to repositories whose packages no longer go together."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from binderlet.builder import render
from binderlet.builder.context import Context
from binderlet.builder.layout import USER
from binderlet.builder.plan import Plan
from binderlet.builder.pythons import version_order
from binderlet.builder.toolchain import BuildCommand
from binderlet.clients.program import run_program

OLD = timedelta(days=365)
"""Age of a commit from which its packages may have changed beyond it."""
SECONDS = 30
"""For each Python that is looked at."""
MARK = "Newest Python with these packages: "


def is_old(plan: Plan, day: str, today: date) -> bool:
    """Whether the packages of the commit's day may be of help.

    They are of none to a repository that has a date already, that nothing is installed for, or whose commit is young.
    """
    if not plan.requirements_file or plan.installer_options or re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) is None:
        return False
    return today - date.fromisoformat(day) >= OLD


def offer(plan: Plan, day: str, python: str | None) -> str:
    """Give the sentence for the log; ``python`` is what ``found`` gives."""
    if python == "":
        return "With the packages of that day it cannot be installed on any Python here, either."
    folder = plan.requirements_file.rpartition("/")[0]
    path = f"{folder}/runtime.txt" if folder else "runtime.txt"
    there = f", which are all there ready-made for Python {python}" if python else ""
    line = f"python-{python or plan.python}-{day}"
    return f"To get the packages of {day}{there}, write one line into {path}: {line}"


def look(context: Context, base: str, plan: Plan, day: str, pythons: Iterable[str]) -> tuple[Context, BuildCommand]:
    """Give the build that looks for the newest of some Pythons that has all packages of a day ready-made.

    It installs nothing and runs no package's code, and makes no image.
    """
    newest_first = sorted(set(pythons), key=version_order, reverse=True)
    whole = replace(
        context, dockerfile=dockerfile(base, plan, day, newest_first), requirements=plan.requirements, ignore=""
    )
    command = BuildCommand(whole.dockerfile_path, whole.root, tag="", output=context.folder / "found")
    return whole, command


def dockerfile(base: str, plan: Plan, day: str, pythons: Sequence[str]) -> str:
    """Write the Dockerfile of ``look``; it tries Pythons in their order."""
    options = f"--quiet --no-build --cache-dir /tmp/uv --exclude-newer {day}T23:59:59Z"
    resolve = (
        f"timeout {SECONDS} uv pip compile {options} --python-version $python {shlex.quote(plan.requirements_file)}"
    )
    script = (
        f"cd /tmp/{render.REQUIREMENTS}; found=; for python in {' '.join(pythons)}; do "
        f"if {resolve} >/dev/null 2>&1; then found=$python; break; fi; done; "
        f'echo "{MARK}$found"; touch /tmp/done'
    )
    mount = f"--mount=type=bind,source={render.REQUIREMENTS},target=/tmp/{render.REQUIREMENTS}"
    lines = [f"FROM {base} AS look", f"USER {USER}", render.run_step(script, mount)]
    return "\n".join([*lines, "FROM scratch", "COPY --from=look /tmp/done /", ""])


def found(tail: str) -> str | None:
    """Give the Python that was found, from what that build printed; empty where there is none, None if it failed."""
    marks = re.findall(rf"(?m)^{re.escape(MARK)}(\S*)$", tail)
    return str(marks[-1]) if marks else None


async def advise(
    plan: Plan, checkout: Path, look: Callable[[str], Awaitable[str | None]], say: Callable[[str], None]
) -> None:
    """Say in the log of a build whose packages could not be installed what would help, if anything would.

    ``look`` takes a day and gives the newest Python that has that day's packages, as ``found`` does.
    """
    day = await commit_day(checkout)
    if is_old(plan, day, datetime.now(UTC).date()):
        say(f"This commit is of {day}: looking for packages of that day...")
        say(offer(plan, day, await look(day)))


async def commit_day(checkout: Path) -> str:
    """Give the day of the commit that is checked out, as ``yyyy-mm-dd``; empty where git does not say."""
    # The configuration of a checkout is a stranger's: only what reads one object is run, without any hooks.
    command = ["git", "-C", str(checkout), "show", "--no-patch", "--no-show-signature", "--format=%cs", "HEAD"]
    _, output = await run_program(command)
    return output.strip()
