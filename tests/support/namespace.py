"""A host of the test's own: a network namespace at the end of a cable that can be slowed and cut."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

TABLE = "inet cable"


@dataclass(frozen=True, slots=True)
class Host:
    """Reached from here at ``address``."""

    name: str
    cable: str
    """This machine's end."""
    address: str

    @property
    def inside(self) -> list[str]:
        """What is put before a command that runs on it."""
        return ["ip", "netns", "exec", self.name]

    def slow(self, kilobits: int) -> None:
        """Let no more than that many kilobits a second through to it; what has to wait for 2 seconds is dropped."""
        rule = ("rate", f"{kilobits}kbit", "burst", "2kb", "latency", "2s")
        run("tc", "qdisc", "replace", "dev", self.cable, "root", "tbf", *rule)

    def cut(self) -> None:
        """Drop every packet that comes to it."""
        rules = f"table {TABLE} {{ chain input {{ type filter hook input priority 0; iifname != lo drop; }}; }}"
        run(*self.inside, "nft", rules)

    def mend(self) -> None:
        """Let packets through again, at once."""
        subprocess.run([*self.inside, "nft", "delete", "table", *TABLE.split()], check=False, capture_output=True)
        subprocess.run(["tc", "qdisc", "del", "dev", self.cable, "root"], check=False, capture_output=True)


@contextmanager
def host() -> Iterator[Host]:
    """Make one; it is gone at the end of the block, with all that runs on it."""
    mark = uuid4().hex[:6]
    subnet = f"10.203.{os.getpid() % 200}"
    made = Host(f"bl-{mark}", f"bl{mark}a", f"{subnet}.2")
    run("ip", "netns", "add", made.name)
    try:
        run("ip", "link", "add", made.cable, "type", "veth", "peer", "name", "eth0", "netns", made.name)
        run("ip", "address", "add", f"{subnet}.1/24", "dev", made.cable)
        run("ip", "link", "set", made.cable, "up")
        run(*made.inside, "ip", "address", "add", f"{made.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(*made.inside, "ip", "link", "set", device, "up")
        yield made
    finally:
        subprocess.run(["ip", "link", "del", made.cable], check=False, capture_output=True)
        run("ip", "netns", "del", made.name)


def run(*command: str) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
