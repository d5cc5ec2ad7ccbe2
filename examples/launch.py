#!/usr/bin/env python3
"""Launch a repository on a Binder and print the link; needs nothing but Python.

Such as: python launch.py http://localhost:8585 gh/binder-examples/requirements/HEAD
"""

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen


def events(binder: str, spec: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a launch until its stream ends."""
    request = Request(f"{binder.rstrip('/')}/build/{spec}", headers={"Accept": "text/event-stream"})
    with urlopen(request, timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def launch(binder: str, spec: str) -> tuple[str, str]:
    """Return the URL of a session that answers, and its token."""
    for event in events(binder, spec):
        print(event.get("message", "").rstrip(), file=sys.stderr)
        if event.get("phase") == "ready":
            return event["url"], event["token"]
        if event.get("phase") == "failed":
            break
    sys.exit("The launch failed.")


if __name__ == "__main__":
    url, token = launch(*sys.argv[1:])
    print(f"{url}lab?token={token}")
