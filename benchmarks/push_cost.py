"""``push_cost``: from the request for a launch to the first 200 of ``/lab``, while large images are being pushed.

Reference: launches of the same image by the same service right afterwards, started anew with pushing switched off.
The detail also has launches beside a plain ``docker push`` that goes as quickly as it can.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import FILES, end_sessions, launch_to_first_page
from benchmarks._registry import block, large_images, metric, storage
from support.ports import free_ports
from support.service import LiveService, docker, git_spec, repository

RUNS = 7
SIZE = 250_000_000


def main() -> None:
    """Measure and print."""
    pushing: list[float] = []
    quiet: list[float] = []
    plain: list[float] = []
    name = f"bench-{uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="bb-") as folder, storage() as server:
        service = LiveService(Path(folder) / "s", name=name)
        service.set(**block(server, server.make_bucket()))
        with (
            large_images(f"{name}/i-", 3, SIZE),
            large_images(f"{name}-plain/i-", 1, SIZE) as (image,),
            repository(Path(folder) / "git", FILES) as (repo, url),
        ):
            with service:
                spec = git_spec(url, repo.head)
                service.ready(spec)
                end_sessions(service)
                moved = _with_pushes(service, spec, pushing)
            service.set(registry__push=False)
            with service:
                service.ready(spec)  # the image went with the first run, and comes back from the registry
                end_sessions(service)
                _launches(service, spec, quiet, RUNS)
                with _plain_push(image, Path(folder)) as pushes:
                    _launches(service, spec, plain, 3)
                    say(f"plain docker push went on: {pushes.poll() is None}")
    detail = {
        "pushing": summary(pushing),
        "quiet": summary(quiet),
        "beside_plain_docker_push": summary(plain),
        "pushed_mb_per_s": round(moved / 1e6, 1),
    }
    Figure("push_cost", statistics.median(pushing), statistics.median(quiet), "s", len(pushing), detail).print()


def _with_pushes(service: LiveService, spec: str, seconds: list[float]) -> float:
    """Launch while images are pushed; gives the bytes that were pushed a second over the whole time."""
    while not metric(service, "registry_bytes_total"):
        time.sleep(0.1)
    sent, began = metric(service, "registry_bytes_total"), time.monotonic()
    while len(seconds) < RUNS and metric(service, "images_unpushed") + _is_pushing(service):
        _launches(service, spec, seconds, 1)
        time.sleep(1)
    return (metric(service, "registry_bytes_total") - sent) / (time.monotonic() - began)


def _is_pushing(service: LiveService) -> bool:
    return "to push" in service.get("health")[1].decode()


def _launches(service: LiveService, spec: str, seconds: list[float], runs: int) -> None:
    for _ in range(runs):
        seconds.append(measure(lambda: launch_to_first_page(service, spec)))
        end_sessions(service)
        say(f"{seconds[-1]:.3f} s")


@contextmanager
def _plain_push(image: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Push an image to a plain registry on this disk, as BinderHub does: as quickly as it goes."""
    (port,) = free_ports(1)
    config = folder / "plain.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/plain}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    registry = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    target = f"127.0.0.1:{port}/{image}"
    try:
        time.sleep(1)
        subprocess.run([docker(), "tag", image, target], check=True, capture_output=True)
        pushes = subprocess.Popen(
            ["/bin/sh", "-c", f"while {docker()} push -q {target}; do rm -rf {folder}/plain; done"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield pushes
        pushes.kill()
        pushes.wait()
    finally:
        registry.kill()
        registry.wait()
        subprocess.run([docker(), "rmi", target], check=False, capture_output=True)


if __name__ == "__main__":
    main()
