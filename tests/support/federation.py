"""Federations in tests: files, members that are not there, and what they say."""

from __future__ import annotations

import json
from typing import Any

from binderlet.federation.config import Federation
from binderlet.federation.report import Answer, Report, Room

VERSIONS = {"binderhub": "1.0.0", "builder": "image:1", "builder_info": {"build_image": "image:1"}}

MYBINDER = {
    "host": "https://mybinder.org",
    "check": {"period": 15, "jitter": 0.05, "retries": 5, "timeout": 5, "failed_period": 90},
    "load_balancer": "random",
    "pod_headroom": 10,
    "host_cookie_age_hours": 4,
    "hosts": {
        "hetzner-2i2c": {
            "prime": True,
            "url": "https://2i2c.mybinder.org/",
            "weight": 50,
            "health": "https://2i2c.mybinder.org/health",
            "versions": "https://2i2c.mybinder.org/versions",
        },
        "hetzner-gesis": {
            "url": "https://gesis.mybinder.org",
            "weight": 50,
            "health": "https://gesis.mybinder.org/health",
            "versions": "https://gesis.mybinder.org/versions",
        },
        "ovh": None,
        "bids-ovh": {
            "url": "https://bids.mybinder.org",
            "weight": 50,
            "health": "https://bids.mybinder.org/health",
            "versions": "https://bids.mybinder.org/versions",
        },
    },
}
"""The form of mybinder.org's own file."""


def federation(weights: dict[str, float] | None = None, **more: Any) -> Federation:  # noqa: ANN401 - any setting
    """A federation whose first member is prime; a member's URL is ``https://<name>.test``."""
    weights = {"a": 1, "b": 1, "c": 1} if weights is None else weights
    first = next(iter(weights))
    members = {
        name: {"url": f"https://{name}.test", "weight": weight, "prime": name == first}
        for name, weight in weights.items()
    }
    for name, keys in more.pop("members", {}).items():
        members[name] |= keys
    return Federation.model_validate({"url": "https://fed.test", "members": members} | more)


def well(quota: int | None = None, total: int = 0, **more: Any) -> Report:  # noqa: ANN401 - any field
    """The report of a member that is well."""
    room = Room(quota, total) if quota is not None else None
    return Report(room=room, versions=more.pop("versions", VERSIONS), **more)


def health_answer(*, quota: int | None = 100, total: int = 0, status: int = 200, **more: Any) -> Answer:  # noqa: ANN401 - JSON
    """What ``/health`` answers."""
    pods = {"service": "Pod quota", "total_pods": total, "quota": quota, "ok": True, "_ignore_failure": True}
    checks = [{"service": "JupyterHub API", "ok": True}, *more.pop("checks", []), pods]
    return Answer(status, json.dumps({"ok": True, "checks": checks} | more).encode())


def versions_answer(**more: Any) -> Answer:  # noqa: ANN401 - JSON
    """What ``/versions`` answers."""
    return Answer(200, json.dumps(VERSIONS | more).encode())
