"""Memory and CPU that watching 1,000 pods takes, with changes as an API server streams them.

The server is a process of its own that gives pods as a real one does, and then changes them. Reference: a client that
keeps the objects as they come, as general client libraries do, on the same stream.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks._figure import Figure, say
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import Access
from binderlet.engine.kubernetes_pods import PodMirror
from binderlet.engine.kubernetes_spec import pod_name, selector
from support.kube_api import NAMESPACE, Json, KubeApi

PODS = 1000
PER_SECOND = 100
SECONDS = 20
RECORDED = Path(__file__).parents[1] / "tests" / "engine" / "kubernetes_recorded" / "running.json"
PATH = f"api/v1/namespaces/{NAMESPACE}/pods"


def pod(number: int) -> Json:
    """Give a recorded pod as another session."""
    made: Json = json.loads(RECORDED.read_text())
    made["metadata"]["name"] = pod_name("bench", str(number))
    made["metadata"]["uid"] = secrets.token_hex(16)
    made["metadata"]["labels"]["binderlet.instance"] = "bench"
    made["metadata"]["annotations"] |= {"binderlet.session": f"s-{number}", "binderlet.instance": "bench"}
    return made


async def serve() -> None:
    """Be the server: print the port, then change pods until the input ends."""
    api = KubeApi()
    await api.up()
    for number in range(PODS):
        api.add(pod(number))
    print(api.port, flush=True)
    number = 0
    while True:
        await asyncio.sleep(0.1)
        if api.watching:
            for _ in range(PER_SECOND // 10):
                number += 1
                api.update(pod_name("bench", str(number % PODS)), message=f"change {number}")


async def watch(port: int, kind: str) -> None:
    """Be a client: print what it took."""
    client = KubernetesClient(Access(f"http://127.0.0.1:{port}", NAMESPACE, None))
    await client.version()
    process = psutil.Process()
    memory = process.memory_full_info().uss
    began, cpu = time.monotonic(), process.cpu_times()
    seen = 0
    if kind == "ours":
        mirror = PodMirror(client, PATH, selector("bench"))
        await mirror.synced()
        assert len(mirror.pods) == PODS
        listed = process.cpu_times()
        first = int(mirror.version)
        await asyncio.sleep(SECONDS)
        seen = int(mirror.version) - first
    else:
        objects: dict[str, Any] = {}
        answer = await client.call("GET", PATH, params={"labelSelector": selector("bench")})
        objects.update((item["metadata"]["name"], item) for item in answer["items"])
        listed = process.cpu_times()
        since = answer["metadata"]["resourceVersion"]
        async for event in client.watch(PATH, params={"labelSelector": selector("bench")}, since=since):
            objects[event["object"]["metadata"]["name"]] = event["object"]
            seen += 1
            if time.monotonic() - began > SECONDS:
                break
    ended = process.cpu_times()
    found = {
        "changes": seen,
        "mb": round((process.memory_full_info().uss - memory) / 2**20, 2),
        "list_cpu_s": round(listed.user + listed.system - cpu.user - cpu.system, 3),
        "watch_cpu_percent": round(100 * (ended.user + ended.system - listed.user - listed.system) / SECONDS, 2),
    }
    print(json.dumps(found), flush=True)


def measure(port: str, kind: str) -> dict[str, float]:
    """Run one client."""
    command = [sys.executable, "-m", "benchmarks.kube_watch", kind, port]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    say(f"{kind}: {found}")
    return found


def main() -> None:
    """Measure and print."""
    command = [sys.executable, "-m", "benchmarks.kube_watch", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            ours, plain = measure(port, "ours"), measure(port, "plain")
        finally:
            server.terminate()
    detail = {"pods": PODS, "changes_per_s": PER_SECOND, "ours": ours, "plain_objects": plain}
    Figure("kube_watch", ours["mb"], plain["mb"], "MB", 1, detail).print()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case [kind, port]:
            asyncio.run(watch(int(port), kind))
        case _:
            main()
