"""Containers of the tiny image that hold a known amount of memory."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from typing import Any

from support.engines import EngineApi, docker_socket, tiny_image

MIB = 1024**2
FILL = (
    "dd if=/dev/zero of=/tmp/file bs=1M count={size}; busybox sync; cat /tmp/file > /tmp/again; busybox sync; "
    "echo filled; sleep 600"
)


@contextlib.contextmanager
def filled_container(size: int = 48, command: str = FILL, **host: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Run a container whose page cache has that many MiB, give its id, and remove it."""
    api = EngineApi(docker_socket())
    body = {
        "Image": tiny_image(api),
        "Cmd": ["sh", "-c", command.format(size=size)],
        "HostConfig": {"NetworkMode": "none", "Init": True, **host},
    }
    container = str(api.call("POST", "containers/create", body, name=f"binderlet-test-{secrets.token_hex(4)}")["Id"])
    try:
        api.call("POST", f"containers/{container}/start")
        while "filled" not in api.call("GET", f"containers/{container}/logs", stdout="1"):
            time.sleep(0.05)
        yield container
    finally:
        api.call("DELETE", f"containers/{container}", force="1", v="1")
