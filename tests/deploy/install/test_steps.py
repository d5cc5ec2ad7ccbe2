"""What is to be done, and why."""

from __future__ import annotations

import pytest

from binderlet.deploy.install.actions import File, Packages, Unit
from binderlet.deploy.install.steps import Machine, Step, steps
from binderlet.deploy.install.wanted import Wanted

PROGRAM = Unit("program")
ALL = [
    *("packages", "engine", "program", "user", "settings", "kernel", "updates", "swap", "firewall"),
    *("data path", "registry", "service", "restart"),
]
STORAGE = {"registry.s3.endpoint": "https://s3.example.org/"}


def named(found: list[Step]) -> list[str]:
    """Give the names."""
    return [step.name for step in found]


@pytest.mark.parametrize(
    ("wanted", "machine", "missing"),
    [
        (Wanted("b.org", settings=STORAGE), Machine(has_engine=False), set()),
        (Wanted("b.org"), Machine(has_engine=False, has_storage=True), set()),
        (Wanted("b.org"), Machine(has_engine=True), {"engine", "registry"}),
        (Wanted("b.org", swap=False, firewall=False), Machine(has_engine=False), {"swap", "firewall", "registry"}),
        (Wanted("b.org", updates=False), Machine(has_engine=False), {"updates", "registry"}),
        (Wanted("b.org"), Machine(has_engine=True, made_engine=True), {"registry"}),
    ],
)
def test_only_what_is_wanted(wanted: Wanted, machine: Machine, missing: set[str]) -> None:
    """Each part can be left out; the service comes last, when all it needs is there."""
    found = list(steps(wanted, machine, PROGRAM))
    assert named(found) == [name for name in ALL if name not in missing]
    assert all(step.why.endswith(".") and step.actions for step in found)


def test_a_root_only_engine_has_no_helper() -> None:
    """Where only root may use the engine's socket, the control plane is root and needs none."""

    def files(group: str) -> str:
        return " ".join(
            action.what
            for step in steps(Wanted(""), Machine(True, engine_group=group), PROGRAM)
            for action in step.actions
        )

    assert "binderlet-helper.service" in files("docker")
    assert "binderlet-helper" not in files("")


def test_packages_that_only_some_releases_have() -> None:
    """Newer ones split docker.io."""
    machine = Machine(has_engine=False, available=frozenset({"docker-cli"}))
    engine = next(step for step in steps(Wanted(""), machine, PROGRAM) if step.name == "engine")
    _, packages, _ = engine.actions
    assert isinstance(packages, Packages)
    assert list(packages.names) == ["docker.io", "iptables", "docker-cli"]


@pytest.mark.parametrize("has_clock", [False, True])
def test_one_keeper_of_the_time(*, has_clock: bool) -> None:
    """One that is there stays."""
    (packages,) = [
        action
        for step in steps(Wanted(), Machine(has_engine=True, has_clock=has_clock), PROGRAM)
        for action in step.actions
        if isinstance(action, Packages) and "unattended-upgrades" in action.names
    ]
    assert ("systemd-timesyncd" in packages.names) is not has_clock


def test_the_firewall_leaves_open_what_is_used() -> None:
    """Where ssh was seen to listen, where it is said to, and where visitors come."""
    wanted = Wanted("b.org", ssh_port=2200, settings={"server.port": 8080})
    found = steps(wanted, Machine(has_engine=True, ssh_ports=frozenset({22, 2222})), PROGRAM)
    (rules,) = [
        action.text
        for step in found
        for action in step.actions
        if isinstance(action, File) and action.path.name == "firewall.nft"
    ]
    assert "tcp dport { 22, 80, 443, 2200, 2222, 8080 } accept" in rules
