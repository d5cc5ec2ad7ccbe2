"""``restore``: seconds for each gigabyte of an image that a machine with nothing on it brings back from the bucket.

Reference: building the same image, for the same gigabytes: what the machine would do without a bucket. Bytes are those
that are moved, compressed. The new machine is a second container engine with an empty store; its base image comes from
the bucket, too, when it starts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from benchmarks._figure import Figure, say
from benchmarks._registry import block, metric, storage, wait_until_pushed
from support.second_engine import second_engine
from support.service import LiveService, git_spec, repository

PACKAGES = "numpy\npandas\nmatplotlib\nscipy\n"
FILES = {"requirements.txt": PACKAGES, "index.ipynb": "{}"}


def main() -> None:
    """Measure and print."""
    name = f"bench-{uuid4().hex[:8]}"
    with (
        tempfile.TemporaryDirectory(prefix="bb-") as folder,
        storage() as server,
        repository(Path(folder) / "git", FILES) as (repo, url),
    ):
        settings = block(server, server.make_bucket()) | {"registry__push_rate": 0, "registry__yield_rate": 10**9}
        spec = git_spec(url, repo.head)
        old = LiveService(Path(folder) / "old", name=name)
        old.set(**settings)
        with old:
            build = _until_built(old, spec)
            say(f"built in {build:.1f} s")
            pushing = _seconds(lambda: wait_until_pushed(old))
            sent = metric(old, 'registry_bytes_total{direction="sent"}')
        with second_engine() as socket:
            new = LiveService(Path(folder) / "new", name=f"{name}-new")
            new.set(**settings, engine__socket=str(socket), engine__subnet="10.215.0.0/16")
            new.set(builder__image_prefix=f"{name}/i-")
            start = _seconds(new.start)
            try:
                before = metric(new, 'registry_bytes_total{direction="received"}')
                pull = _until_built(new, spec)
                moved = metric(new, 'registry_bytes_total{direction="received"}') - before
                if not metric(new, 'image_pulls_total{source="registry"}'):
                    raise RuntimeError("the image was not pulled")
            finally:
                new.stop()
    detail = {
        "pull_s": round(pull, 2),
        "build_s": round(build, 2),
        "moved_mb": round(moved / 1e6, 1),
        "start_of_the_empty_machine_s": round(start, 1),
        "base_mb": round(before / 1e6, 1),
        "pushed_mb": round(sent / 1e6, 1),
        "pushed_within_s": round(pushing, 1),
    }
    Figure("restore", pull / (moved / 1e9), build / (moved / 1e9), "s/GB", 1, detail).print()


def _until_built(service: LiveService, spec: str) -> float:
    """Give the seconds from the request for a launch until there is an image for it."""
    began = time.perf_counter()
    for event in service.stream(spec, timeout=900):
        if event["phase"] == "built":
            return time.perf_counter() - began
        if event["phase"] == "failed":
            raise RuntimeError(event["message"])
    raise RuntimeError("the launch ended without an image")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
