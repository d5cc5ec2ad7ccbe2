"""``build_trivial``: from the request to ``built`` for a repository with one small package, by the running service."""

from __future__ import annotations

import json
import statistics
import time
from uuid import uuid4

from benchmarks._figure import Figure, say, summary
from benchmarks._launches import NOTEBOOK, end_sessions, running
from support.service import LiveService, ServiceError, git_spec

RUNS = 5


def build(service: LiveService, spec: str) -> dict[str, float]:
    """Launch, and give when each phase began, in seconds after the request."""
    began = time.perf_counter()
    seen: dict[str, float] = {}
    for event in service.stream(spec):
        seen.setdefault(event["phase"], time.perf_counter() - began)
    if "built" not in seen:
        raise ServiceError(f"The build failed: {event}")
    return seen


def main() -> None:
    """Measure and print."""
    runs: list[dict[str, float]] = []
    with running() as (service, repo, _):
        for number in range(RUNS):
            nothing = f"none-{uuid4().hex}; python_version < '3'\n"
            repo.commit({"binder/requirements.txt": f"iniconfig\n{nothing}", "index.ipynb": NOTEBOOK})
            runs.append(build(service, git_spec(service.repo_url, repo.head)))
            end_sessions(service)
            say(f"{number + 1}/{RUNS}: {json.dumps({name: round(value, 2) for name, value in runs[-1].items()})}")
    built = [run["built"] for run in runs]
    phases = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    Figure("build_trivial", statistics.median(built), None, "s", RUNS, {"built": summary(built), "at": phases}).print()


if __name__ == "__main__":
    main()
