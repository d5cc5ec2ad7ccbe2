"""``registry_down``: what an outage of the registry costs: images rebuilt, and launches of local images that fail.

Reference: images built for the same launches by a service that takes an unreachable registry for an empty one. The
storage stops answering for ``OUTAGE`` seconds, without refusing connections; meanwhile five viewers ask for each of
``ABSENT`` images that only the registry has, and an image that is here is launched again and again.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks._figure import Figure, measure, say, summary
from benchmarks._launches import FILES, end_sessions, launch_to_first_page
from benchmarks._registry import block, metric, storage, wait_until_pushed
from support.s3_server import S3Server
from support.service import LiveService, ServiceError, docker, git_spec, repository

OUTAGE = 25.0
ABSENT = 3
VIEWERS = 5
LOCAL = 5


def main() -> None:
    """Measure and print."""
    name = f"bench-{uuid4().hex[:8]}"
    with (
        tempfile.TemporaryDirectory(prefix="bb-") as folder,
        storage() as server,
        repository(Path(folder) / "git", FILES) as (repo, url),
    ):
        service = LiveService(Path(folder) / "s", name=name)
        service.set(**block(server, server.make_bucket()), registry__yield_rate=10**9)
        with service:
            specs = []
            for number in range(ABSENT + 1):
                specs.append(git_spec(url, repo.commit({f"{number}.txt": str(number)})))
                service.ready(specs[-1])
            end_sessions(service)
            wait_until_pushed(service)
            here, absent = specs[0], specs[1:]
            _remove(service, here)
            quiet = [_launch(service, here) for _ in range(LOCAL)]
            local, detail = _outage(service, server, here, absent)
        reference = _naive(Path(folder) / "n", absent)
    failed = sum(seconds < 0 for seconds in local)
    ours = detail["rebuilt"] + failed
    detail |= {"local_during_outage": summary(local), "local_before": summary(quiet), "local_failed": failed}
    detail["local_median_ratio"] = round(statistics.median(local) / statistics.median(quiet), 3)
    Figure("registry_down", ours, reference, "rebuilds and failed launches", 1, detail).print()


def _outage(service: LiveService, server: S3Server, here: str, absent: list[str]) -> tuple[list[float], dict[str, Any]]:
    """Let the storage be silent for a while; gives the local launches meanwhile, and what came of the others."""
    phases: list[str] = []

    def view(spec: str) -> None:
        events = service.launch(spec, timeout=600)
        phases.append(str(events[-1]["phase"]))

    server.pause()
    began = time.monotonic()
    viewers = [threading.Thread(target=view, args=(spec,)) for spec in absent for _ in range(VIEWERS)]
    try:
        for viewer in viewers:
            viewer.start()
        local = [_launch(service, here) for _ in range(LOCAL)]
        time.sleep(max(0.0, began + OUTAGE - time.monotonic()))
        say(f"rebuilt during the outage: {metric(service, 'images_rebuilt_total')}")
    finally:
        server.resume()
    outage = time.monotonic() - began
    for viewer in viewers:
        viewer.join()
    return local, {
        "outage_s": round(outage, 1),
        "rebuilt": metric(service, "images_rebuilt_total"),
        "pulled": metric(service, 'image_pulls_total{source="registry"}'),
        "viewers": len(viewers),
        "viewers_ready": phases.count("ready"),
        "last_ready_after_outage_s": round(time.monotonic() - began - outage, 1),
    }


def _launch(service: LiveService, spec: str) -> float:
    """Launch, end the session and give the time to its first page; negative where it failed."""
    try:
        event: dict[str, str] = {}
        seconds = measure(lambda: event.update(launch_to_first_page(service, spec)))
    except (ServiceError, OSError) as error:
        say(f"a local launch failed: {error}")
        return -1.0
    service.admin("DELETE", f"/sessions/{event['url'].rstrip('/').rpartition('/')[2]}")
    return seconds


def _remove(service: LiveService, here: str) -> None:
    """Remove the images from this machine but the one that stays."""
    ref = here.rpartition("/")[2]
    listed = [docker(), "images", "--format", "{{.Repository}}:{{.Tag}}", f"{service.name}/*"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(
        [docker(), "rmi", *(name for name in names if not name.endswith(ref))], check=True, capture_output=True
    )
    time.sleep(1)


def _naive(state: Path, absent: list[str]) -> float:
    """Count what a service builds for the same launches that has no registry to ask."""
    service = LiveService(state, name=f"bench-{uuid4().hex[:8]}")
    with service:
        viewers = [threading.Thread(target=service.launch, args=(spec,)) for spec in absent for _ in range(VIEWERS)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join()
        lines = service.get("metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("binderhub_build_count_total"))


if __name__ == "__main__":
    main()
