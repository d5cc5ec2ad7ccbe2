"""Debian's docker-registry on a bucket of a real S3 server, as binderlet runs it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from binderlet.clients.oci import OciClient
from binderlet.config.registry import S3Settings
from binderlet.images.registry.distribution import PROGRAM, RegistryProcess
from support.s3_server import S3Server


@asynccontextmanager
async def docker_registry(s3: S3Server, settings: S3Settings | None = None) -> AsyncIterator[RegistryProcess]:
    """Run one on a fresh bucket, or as the settings say; ``client_of`` gives a client for it."""
    if shutil.which(PROGRAM) is None:
        pytest.skip("docker-registry is not installed")
    # Not below pytest's folders: the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="registry-") as folder:
        process = RegistryProcess(Path(folder), settings or s3.settings(s3.make_bucket()), ca_bundle=s3.ca_bundle)
        await process.ensure()
        try:
            yield process
        finally:
            await process.end()


def client_of(process: RegistryProcess) -> OciClient:
    """Give a client for it; the caller closes it."""
    return OciClient("http://registry/", socket=process.socket, reason=process.storage_says)
