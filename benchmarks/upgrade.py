"""WebSockets that an upgrade drops, and how long new launches have to wait for it."""

from __future__ import annotations

import asyncio
import os
import time

import aiohttp

from benchmarks._figure import Figure, say
from benchmarks._vm import SITE, bare_machine, install_command, launch
from support.vm import Machine, next_release

SESSIONS = int(os.environ.get("SESSIONS", "3"))
SOCKETS = int(os.environ.get("SOCKETS", "20"))
"""WebSockets of each session."""
EVERY = 0.02


async def longest_gap(http: aiohttp.ClientSession, ended: asyncio.Event) -> float:
    """Ask the control plane again and again; gives the longest time without an answer, in seconds."""
    longest, last = 0.0, time.perf_counter()
    while not ended.is_set():
        async with http.get(f"http://{SITE}/versions") as answer:
            if answer.status == 200:
                now = time.perf_counter()
                longest, last = max(longest, now - last), now
        await asyncio.sleep(EVERY)
    return longest


async def is_open(channel: aiohttp.ClientWebSocketResponse) -> bool:
    """Whether the other side still takes what is sent."""
    try:
        await channel.ping()
    except (ConnectionError, aiohttp.ClientError):
        return False
    return not channel.closed


async def upgraded(vm: Machine, wheel: str, addresses: list[str]) -> tuple[int, float, float]:
    """Upgrade under open WebSockets; gives how many were dropped, the gap, and how long all of it took."""
    async with aiohttp.ClientSession() as http:
        channels = [await http.ws_connect(address, heartbeat=5) for address in addresses for _ in range(SOCKETS)]
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(longest_gap(http, ended))
            began = time.perf_counter()
            await asyncio.to_thread(vm.must, f"binderlet upgrade --wheel {wheel}", timeout=1800)
            took = time.perf_counter() - began
            ended.set()
        dropped = sum([not await is_open(channel) for channel in channels])
        for channel in channels:
            await channel.close()
    return dropped, watching.result(), took


def main() -> None:
    """Install, open sessions, upgrade."""
    with bare_machine() as (vm, wheel):
        say("installing")
        vm.must(install_command(vm, wheel), timeout=1800)
        vm.must("binderlet check")
        addresses = [launch(vm) for _ in range(SESSIONS)]
        say("upgrading")
        dropped, gap, took = asyncio.run(upgraded(vm, vm.put(next_release(wheel, "0.9.1")), addresses))
        vm.must("binderlet uninstall --keep-images")
    detail = {"websockets": SESSIONS * SOCKETS, "without_launches_s": round(gap, 2), "took_s": round(took, 1)}
    Figure("upgrade", dropped, None, "WebSockets dropped", 1, detail).print()


if __name__ == "__main__":
    main()
