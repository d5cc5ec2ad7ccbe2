"""``content_relaunch``: from the request to ``ready`` for a commit that changed only a notebook."""

from __future__ import annotations

import json
import statistics

from benchmarks._figure import Figure, say, summary, timed
from benchmarks._launches import NOTEBOOK, end_sessions, running
from support.service import git_spec

RUNS = 7


def main() -> None:
    """Measure and print."""
    seconds: list[float] = []
    with running() as (service, repo, _):
        url = service.repo_url
        for number in range(RUNS):
            cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": f"Change {number}"}
            repo.commit({"index.ipynb": json.dumps(json.loads(NOTEBOOK) | {"cells": [cell]})})
            spec = git_spec(url, "main")
            with timed(seconds):
                service.ready(spec)
            end_sessions(service)
            say(f"{number + 1}/{RUNS}: {seconds[-1]:.3f} s")
    Figure("content_relaunch", statistics.median(seconds), None, "s", RUNS, {"seconds": summary(seconds)}).print()


if __name__ == "__main__":
    main()
