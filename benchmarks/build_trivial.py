"""``build_trivial``: from the request to ``built`` for a repository with one small package, by the running service.

The detail says where the time goes: from the events, and from what the tools say of themselves in the log.
"""

from __future__ import annotations

import json
import statistics
import time
from uuid import uuid4

from benchmarks._builds import STEPS, seconds_of
from benchmarks._figure import Figure, say, summary
from benchmarks._launches import NOTEBOOK, end_sessions, running
from support.service import LiveService, ServiceError, git_spec

RUNS = 5


def build(service: LiveService, spec: str) -> tuple[dict[str, float], dict[str, float]]:
    """Launch, and give when each phase began, in seconds after the request, and where the build's time went."""
    began = time.perf_counter()
    seen: dict[str, float] = {}
    text = ""
    for event in service.stream(spec):
        seen.setdefault(event["phase"], time.perf_counter() - began)
        text += event.get("message") or ""
    if "built" not in seen:
        raise ServiceError(f"The build failed: {event}")
    parts = {name: seconds_of(pattern, text) for name, pattern in STEPS.items()}
    parts["fetch"] = seen["building"] - seen["fetching"] if {"fetching", "building"} <= seen.keys() else 0.0
    return seen, parts | {"rest": seen["built"] - sum(parts.values())}


def main() -> None:
    """Measure and print."""
    runs: list[dict[str, float]] = []
    parts: list[dict[str, float]] = []
    with running() as (service, repo, _):
        for number in range(RUNS):
            nothing = f"none-{uuid4().hex}; python_version < '3'\n"
            repo.commit({"binder/requirements.txt": f"iniconfig\n{nothing}", "index.ipynb": NOTEBOOK})
            seen, spent = build(service, git_spec(service.repo_url, repo.head))
            runs.append(seen)
            parts.append(spent)
            end_sessions(service)
            say(f"{number + 1}/{RUNS}: {json.dumps({name: round(value, 2) for name, value in runs[-1].items()})}")
    built = [run["built"] for run in runs]
    phases = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    where = {name: round(statistics.median(each[name] for each in parts), 3) for name in parts[0]}
    detail = {"built": summary(built), "at": phases, "parts": where}
    Figure("build_trivial", statistics.median(built), None, "s", RUNS, detail).print()


if __name__ == "__main__":
    main()
