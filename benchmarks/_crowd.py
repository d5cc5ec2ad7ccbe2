"""Many sessions at once, with swap for them; everything is as it was afterwards, also after Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil

from benchmarks._figure import say
from benchmarks._launches import running
from binderlet.clients.cgroups import Cgroups, Usage
from binderlet.clients.memory import read_machine
from binderlet.deploy.swap import plan
from binderlet.deploy.swap_setup import SwapSetup, disks
from support.service import Event, LiveService, docker

MIB = 1024**2
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
AT_ONCE = 3
"""Launches under way at the same time."""
ANSWER = aiohttp.ClientTimeout(total=60)


def count(name: str, default: int) -> int:
    """Give a size that the environment may set, such as ``SESSIONS=20``."""
    return int(os.environ.get(name, default))


def mebibytes(name: str) -> int | None:
    """Give a size in bytes that the environment may set in MiB."""
    return int(os.environ[name]) * MIB if name in os.environ else None


@contextmanager
def room() -> Iterator[None]:
    """Make sure of swap, and of what many servers of one user need of the kernel.

    ``ZRAM_MB`` and ``SWAP_FILE_MB`` in the environment are other sizes than those of the plan.
    """
    with ExitStack() as undo:
        if not psutil.swap_memory().total:
            setup = SwapSetup()
            memory, zram, file = psutil.virtual_memory().total, mebibytes("ZRAM_MB"), mebibytes("SWAP_FILE_MB")
            setup.setup(plan(memory, disks(), has_zram=setup.has_zram(), zram=zram, file=file))
            undo.callback(setup.off)
            say("swap set up for this run")
        before = INOTIFY.read_text()
        if int(before) < 8192:
            INOTIFY.write_text("8192")
            undo.callback(INOTIFY.write_text, before)
        yield


@contextmanager
def crowd(sessions: int, **settings: object) -> Iterator[Crowd]:
    """Give a service with so many sessions, each answering."""
    defaults: dict[str, object] = {
        "hibernate__after": "15s",
        "hibernate__every": "2s",
        "cull__every": "5s",
        "cull__idle": "6h",
        "cull__max_age": "12h",
        "limits__sessions": sessions + 8,
        "limits__per_repository": 0,
        "limits__queue": sessions,
        "standby__enabled": False,
    }
    with room(), running(**(defaults | settings)) as (service, _, spec):
        made = Crowd(service, spec)
        made.launch(sessions)
        yield made


class Crowd:
    """The sessions of one service."""

    def __init__(self, service: LiveService, spec: str) -> None:
        self.service = service
        self.spec = spec
        self.events: list[Event] = []
        self.lowest = read_machine().available
        """Least available memory seen, in bytes."""
        self.story: list[dict[str, float]] = []
        """What was seen over time, for pictures."""
        self._began = time.monotonic()
        self._cgroups = Cgroups()

    def launch(self, sessions: int) -> None:
        """Launch so many more, a few at a time as visitors come."""
        self.look("nothing launched yet")
        with ThreadPoolExecutor(AT_ONCE) as visitors:
            launches = visitors.map(lambda _: self.service.ready(self.spec, timeout=900), range(sessions))
            for number, event in enumerate(launches, 1):
                self.events.append(event)
                if number % 10 == 0 or number == sessions:
                    self.look(f"{number} of {sessions} launched")

    def look(self, what: str) -> Mapping[str, Any]:
        """Say how it is, and remember it."""
        machine = read_machine()
        self.lowest = min(self.lowest, machine.available)
        status: Mapping[str, Any] = self.service.admin("GET", "/status")[1]
        self.story.append(
            {
                "seconds": round(time.monotonic() - self._began, 1),
                "sessions": status["sessions"],
                "hibernated": status["hibernated"],
                "available": machine.available // MIB,
                "swap_used": (machine.swap - machine.swap_free) // MIB,
            }
        )
        say(
            f"{what}: {status['hibernated']} hibernated, {machine.available / 1024**3:.1f} GB available, "
            f"{(machine.swap - machine.swap_free) / 1024**3:.1f} GB in swap {status['hibernation_off']}"
        )
        return status

    def wait_hibernated(self, share: float = 0.95, timeout: float = 1200.0) -> None:
        """Wait until that share of the sessions is in swap."""
        deadline = time.monotonic() + timeout
        while self.look("waiting")["hibernated"] < share * len(self.events):
            if time.monotonic() > deadline:
                raise TimeoutError("The sessions were not hibernated in time.")
            time.sleep(5)

    def containers(self) -> list[str]:
        """Give the sessions' containers by full id."""
        label = f"label=binderlet.instance={self.service.name}"
        command = [docker(), "ps", "-q", "--no-trunc", "--filter", label]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    def usage(self) -> Sequence[Usage]:
        """Give what each session uses."""
        return list(self._cgroups.read(self.containers()).values())

    def ask_all(self, path: str = "api/status", at_once: int = 8) -> list[float]:
        """Ask every session; gives the seconds of each. Raises where one does not answer 200."""

        async def ask() -> list[float]:
            few = asyncio.Semaphore(at_once)
            async with aiohttp.ClientSession(timeout=ANSWER, connector=aiohttp.TCPConnector(limit=0)) as client:

                async def one(event: Event) -> float:
                    async with few:
                        began = time.perf_counter()
                        headers = {"Authorization": f"token {event['token']}"}
                        async with client.get(event["url"] + path, headers=headers) as answer:
                            await answer.read()
                            if answer.status != 200:
                                raise AssertionError(f"{event['url']} answered {answer.status}")
                        return time.perf_counter() - began

                return list(await asyncio.gather(*map(one, self.events)))

        return asyncio.run(ask())


class Kernel:
    """A kernel of one session, through the data path."""

    def __init__(self, client: aiohttp.ClientSession, event: Event) -> None:
        self._client = client
        self._event = event
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        headers = {"Authorization": f"token {self._event['token']}"}
        async with self._client.post(f"{self._event['url']}api/kernels", json={}, headers=headers) as answer:
            kernel = (await answer.json())["id"]
        url = f"{self._event['url']}api/kernels/{kernel}/channels?token={self._event['token']}"
        self._socket = await self._client.ws_connect(url)
        await self.execute("1")

    async def execute(self, code: str) -> float:
        """Run a cell and give the seconds until its reply."""
        assert self._socket is not None
        began, message = time.perf_counter(), uuid4().hex
        header = {
            "msg_id": message,
            "msg_type": "execute_request",
            "session": "s",
            "username": "",
            "version": "5.3",
            "date": "",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await self._socket.send_str(json.dumps(request))
        async with asyncio.timeout(120):
            while True:
                reply = json.loads((await self._socket.receive()).data)
                if reply["msg_type"] == "execute_reply" and reply["parent_header"].get("msg_id") == message:
                    assert reply["content"]["status"] == "ok", reply["content"]
                    return time.perf_counter() - began

    async def close(self) -> None:
        """Leave it running, as a closed tab does."""
        if self._socket is not None:
            await self._socket.close()


def share(values: Sequence[float], part: float) -> float:
    """Give a percentile, such as 0.95."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def median_mib(usage: Sequence[Usage]) -> float:
    """Give the median of resident memory in MiB."""
    return statistics.median(one.resident for one in usage) / MIB
