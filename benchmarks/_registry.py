"""A service whose images go to object storage, and large images for it to push."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.engines import EngineApi, docker_socket
from support.registry_images import build_image, remove_image
from support.s3_server import S3Server, s3_server
from support.service import LiveService


@contextmanager
def storage() -> Iterator[S3Server]:
    """Run an S3 server on this disk."""
    folder = Path(tempfile.mkdtemp(prefix="bb-s3-"))
    try:
        with s3_server(folder, tls=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def block(server: S3Server, bucket: str) -> dict[str, object]:
    """Give the settings of a bucket as ``LiveService.set`` takes them."""
    return {key.replace(".", "__"): value for key, value in server.block(bucket).items()}


def metric(service: LiveService, name: str) -> float:
    """Read one metric."""
    lines = service.get("metrics")[1].decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"binderlet_{name}"))


def wait_until_pushed(service: LiveService, *, within: float = 1200.0) -> None:
    """Wait until nothing is left to push."""
    deadline = time.monotonic() + within
    while metric(service, "images_unpushed") or "to push" in service.get("health")[1].decode():
        if time.monotonic() > deadline:
            raise TimeoutError(service.last_lines())
        time.sleep(0.5)


@contextmanager
def large_images(prefix: str, count: int, size: int) -> Iterator[list[str]]:
    """Make images that a service of that prefix takes for its own, each with so many random bytes."""
    api, names = EngineApi(docker_socket()), []
    try:
        for _ in range(count):
            names.append(f"{prefix}{os.urandom(4).hex()}:{os.urandom(20).hex()}")
            build_image(api, names[-1], {"binderlet.image": "content"}, size=size)
        yield names
    finally:
        for name in names:
            remove_image(api, name)
