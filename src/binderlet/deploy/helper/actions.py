"""Does what the root helper is asked for; everything here blocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from binderlet.builder import steps
from binderlet.builder.group import ROOT, GroupLimits, limit_builds, step_places
from binderlet.clients import nftables
from binderlet.clients.cgroups import Cgroups, CgroupsUnusable
from binderlet.clients.nftables import NftablesUnusable
from binderlet.deploy.helper.requests import (
    Hold,
    LayerSize,
    LimitBuilds,
    Reclaim,
    Refused,
    Release,
    Request,
    System,
    Tend,
)
from binderlet.engine.egress import mark, render, table

DAEMON = Path("/etc/docker/daemon.json")
STORE = Path("/var/lib/docker")
BOOTSTRAP = (sys.executable, "-I", "-m", "binderlet.deploy.helper.bootstrap")


class Actions:
    """All that there are; ``root`` is where control groups are."""

    def __init__(self, root: Path = ROOT, *, daemon: Path = DAEMON, bootstrap: tuple[str, ...] = BOOTSTRAP) -> None:
        self._root = root
        self._cgroups = Cgroups(root)
        self._daemon = daemon
        self._bootstrap = bootstrap

    def do(self, request: Request, descriptors: list[int]) -> dict[str, Any]:
        """Do one thing, but ``Tend``, and give the answer.

        Raises:
            Refused: it cannot be done here.
        """
        match request:
            case Reclaim():
                return self._reclaim(request)
            case LimitBuilds():
                limits = GroupLimits(request.memory, request.processes, request.weight)
                return {"written": limit_builds(limits, self._root)}
            case LayerSize():
                return {"size": self._layer_size(request)}
            case System():
                return {"code": self._system(request, descriptors)}
            case Hold() | Release():
                return _network_rules(request)
            case Tend():
                raise Refused("it takes a connection of its own")

    def tend(self, request: Tend, tell: Callable[[str], bool]) -> None:
        """Keep a build's steps in their place; ``tell`` gives False when nobody listens any more."""
        limits = step_places(self._root)._replace(
            mark=request.mark,
            share=request.share,
            processes=request.processes,
            oom_score=request.oom_score,
            disk=request.disk,
        )
        tended = steps.Steps(limits)
        while tell(tended.tend(time.monotonic())):
            time.sleep(steps.EVERY)

    def _reclaim(self, request: Reclaim) -> dict[str, Any]:
        try:
            self._cgroups.reclaim(request.container)
        except CgroupsUnusable as error:
            raise Refused(str(error)) from error
        except OSError as error:
            return {"failed": str(error.strerror)}
        return {}

    def _layer_size(self, request: LayerSize) -> int | None:
        path = self._store() / "image" / request.driver / "layerdb" / "sha256" / request.chain / "size"
        try:
            return int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def _store(self) -> Path:
        """Give where Docker keeps its images, as its own settings say."""
        try:
            return Path(json.loads(self._daemon.read_text(encoding="utf-8")).get("data-root", STORE))
        except (OSError, ValueError):
            return STORE

    def _system(self, request: System, descriptors: list[int]) -> int:
        if len(descriptors) != 2:  # noqa: PLR2004 - output and errors
            raise Refused("the files to write to did not come along")
        output, errors = descriptors
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **request.environment}
        done = subprocess.run(
            [*self._bootstrap, request.suite, *request.lines],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            check=False,
        )
        return done.returncode


def _network_rules(request: Hold | Release) -> dict[str, Any]:
    try:
        if isinstance(request, Release):
            nftables.remove(table(request.name))
            return {}
        rules = request.rules
        return {"changed": nftables.ensure(table(rules.name), mark(rules), render(rules))}
    except NftablesUnusable as error:
        return {"failed": str(error)}


def close_all(descriptors: list[int]) -> None:
    """Close what came along with a request."""
    for descriptor in descriptors:
        os.close(descriptor)
