"""Memory runs out: one session's, the machine's, and swap; each made to happen, and nobody else suffers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import expect

from binderlet.builder.group import OOM_SCORE as BUILDS_SCORE
from binderlet.cli.stop_service import process_behind
from binderlet.deploy.swap import SwapPlan
from binderlet.deploy.swap_setup import SwapError, SwapSetup, disks
from support.browser import chromium
from support.engines import EngineApi, docker_socket
from support.memory_group import container_processes, memory_group
from support.service import Event
from support.site import Site, fetch, site, until

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.docker, pytest.mark.haproxy, pytest.mark.browser),
    pytest.mark.timeout(300),  # the first start on a machine makes the base image
]

HELLO = {"README.md": "Hello"}
GREEDY = """\
import pathlib, threading, time
def eat():
    while not pathlib.Path("eat").exists():
        time.sleep(0.1)
    held = []
    while True:
        held.append(b"x" * 2**24)
threading.Thread(target=eat, daemon=True).start()
"""
"""A Jupyter server's configuration that takes all memory as soon as there is a file named ``eat``."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service whose sessions have little memory."""
    with site(tmp_path_factory.mktemp("memory"), session__memory="300M", hibernate__enabled=False) as found:
        yield found


def test_a_session_that_eats_its_limit_dies_alone(here: Site) -> None:
    """Its neighbour goes on; its visitor's tab says that it ran out of memory, and so does its address from then on."""
    spec = here.spec("greedy", {**HELLO, ".jupyter/jupyter_server_config.py": GREEDY})
    neighbour, greedy = here.service.ready(spec), here.service.ready(spec)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{greedy['url']}lab?token={greedy['token']}")
        expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=60_000)
        page.wait_for_timeout(3000)
        container = here.container_of(greedy)
        subprocess.run(["docker", "exec", container, "touch", "eat"], check=True, capture_output=True)
        expect(page.locator(".Toastify")).to_contain_text("ended: it ran out of memory", timeout=90_000)
        page.goto(f"{greedy['url']}lab")
        expect(page.locator("#why")).to_have_text("This session has ended: it ran out of memory.", timeout=30_000)
        again = page.get_by_role("link", name="Launch the same again")
        expect(again).to_have_attribute("href", f"/v2/{spec}")
    assert fetch(neighbour, "api/status")
    assert container not in here.containers()


def test_when_the_machine_runs_out_sessions_go_first(here: Site) -> None:
    """Before a build and the service: all of them are in a group that a program without a score of its own fills."""
    service = here.service
    assert service.process is not None
    ours = psutil.Process(service.process.pid)
    proxies = [one for one in psutil.process_iter(["name", "cmdline"]) if is_ours(one, service.state)]
    event = service.ready(here.spec("hello", HELLO))
    api = EngineApi(docker_socket())
    # By its socket: other engines and their clients may run here, within builds with a score of their own.
    engine = process_behind(Path(docker_socket()))
    assert engine is not None
    session = container_processes(api, here.container_of(event))
    assert min(scores(session)) > BUILDS_SCORE > max(scores([ours.pid, *(one.pid for one in proxies), engine]))

    with memory_group(240) as group, group.program(20, score=BUILDS_SCORE) as build:
        assert build.stdout is not None
        assert build.stdout.readline()
        group.take_in([ours.pid, *(one.pid for one in proxies), *session])
        with group.program(10_000) as hog:
            until(lambda: event["url"].split("/")[-2] not in {one["id"] for one in service.sessions()}, seconds=60)
            assert build.poll() is None
            assert hog.wait(60) != 0, "what is largest goes once no session is left"
    assert ours.is_running()
    assert all(one.is_running() for one in proxies)
    assert service.get("health")[0] == 200
    assert fetch(service.ready(here.spec("hello", HELLO)), "api/status")


def is_ours(process: psutil.Process, state: Path) -> bool:
    """Whether this is the service's HAProxy."""
    return process.info["name"] == "haproxy" and str(state) in " ".join(process.info["cmdline"] or [])


def scores(processes: Iterable[int]) -> list[int]:
    """Give what the kernel adds to each one's share of memory, in thousandths, when it chooses whom to kill."""
    found = list[int]()
    for process in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a session's may have ended meanwhile
            found.append(int(Path(f"/proc/{process}/oom_score_adj").read_text()))
    return found


@pytest.fixture
def little_swap(tmp_path: Path) -> Iterator[int]:
    """Swap of 32 MiB, the machine's only one; gives its size in bytes."""
    if psutil.swap_memory().total:
        pytest.skip("this machine has swap of its own")
    setup, size = SwapSetup(tmp_path / "swap.json"), 32 * 1024**2
    places = [disk.folder for disk in disks()]
    try:
        setup.setup(
            SwapPlan(0, size, f"{places[0].rstrip('/')}/{tmp_path.name}.swap") if places else SwapPlan(0, 0, "")
        )
    except SwapError as error:
        pytest.skip(f"no swap can be made here: {error}")
    try:
        yield size
    finally:
        setup.off()


def test_full_swap_loses_no_session(tmp_path: Path, little_swap: int) -> None:
    """Hibernation fills what there is and stops; what no longer fits stays in memory, and everybody answers."""
    settings: dict[str, Any] = {"hibernate__after": "1s", "hibernate__every": "0.5s", "cull__every": "0.5s"}
    with site(tmp_path, **settings) as found:
        spec = found.spec("hello", HELLO)
        events: list[Event] = [found.service.ready(spec) for _ in range(2)]

        def is_full() -> bool:
            status = json.loads(found.service.get("api/status")[1])
            return bool(status["hibernation_off"] == "swap is nearly full")

        until(is_full, seconds=60)
        assert psutil.swap_memory().total <= little_swap
        began = time.monotonic()
        assert all(fetch(event, "api/status") for event in events)
        assert time.monotonic() - began < 60
        assert len(found.service.sessions()) == 2
        assert found.service.get("health")[0] == 200
