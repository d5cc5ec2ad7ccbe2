"""Small images of an engine for tests of registries, each with layers that no other image has."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from support.engines import EngineApi, tiny_image


def build_image(
    api: EngineApi, name: str, labels: Mapping[str, str] | None = None, *, size: int = 1000, base: str = ""
) -> str:
    """Build an image with one random layer of so many bytes on the tiny image, or on another; gives its id."""
    lines = [f"FROM {base or tiny_image(api)}", "COPY content /content-" + secrets.token_hex(4)]
    lines += [f"LABEL {key}={json.dumps(value)}" for key, value in (labels or {}).items()]
    files = {"Dockerfile": "\n".join(lines).encode(), "content": secrets.token_bytes(size)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, body in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    said = api.call("POST", "build", buffer.getvalue(), t=name, rm="1", forcerm="1")
    found: dict[str, str] = api.call("GET", f"images/{name}/json")
    assert found["Id"], said
    return found["Id"]


def remove_image(api: EngineApi, name: str) -> None:
    """Remove an image's name, and the image with its last one; one that is not there counts as removed."""
    with contextlib.suppress(OSError):
        api.call("DELETE", f"images/{name}", force="1")


def has_image(api: EngineApi, name: str) -> bool:
    """Whether the engine has an image of that name or id."""
    try:
        api.call("GET", f"images/{name}/json")
    except OSError:
        return False
    return True


def names_of(api: EngineApi, image_id: str) -> list[str]:
    """Give all names that an image has, by tag and by digest."""
    found = api.call("GET", f"images/{image_id}/json")
    return [*found["RepoTags"], *found["RepoDigests"]]


@contextmanager
def image_name(api: EngineApi, prefix: str = "binderlet-test/registry-") -> Iterator[str]:
    """Give a name that no other test has, and remove what has it."""
    name = f"{prefix}{secrets.token_hex(4)}:1"
    try:
        yield name
    finally:
        remove_image(api, name)
