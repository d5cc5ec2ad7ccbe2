"""Ways to carry a load, each with what it costs a month and how long launches wait. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from binderlet.clients.memory import Hardware
from binderlet.planner.load import SLOT, Load, concurrency
from binderlet.planner.prices import HOURS, Machine, Prices
from binderlet.planner.queueing import fixed_tail, percentile, scaled_tail
from binderlet.sessions.capacity import capacity, planned

GIB = 1024**3
MOST_PLACES = 1000
"""Sessions on one machine: a Linux bridge, which connects them, has 1,023 ports."""
DISK_FREE = 10 * GIB
"""Disk that ``binderlet swap setup`` leaves alone."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is taken for given; every one can be changed from the command line."""

    session_memory: int = 2 * GIB
    """Limit of a session, in bytes."""
    disk: float = 300.0
    """GB for images and swap where the machine has no disk of its own."""
    build_memory: int = 2 * GIB
    guarantee: float = 450e6
    """Bytes of memory that Kubernetes sets aside for a session, as mybinder.org does."""
    node_memory: float = 32.0
    """GB of one machine of a cluster; its price is that share of the provider's big one."""
    node_reserve: float = 2.0
    """GB of it that the system takes."""
    pods: int = 110
    """Sessions that Kubernetes puts on one machine at most."""
    lag: float = 240.0
    """Seconds from a launch that finds no place to a machine that is there and has its images."""
    idle: float = 600.0
    """Seconds after which an empty machine is given back."""
    spare: float = 0.1
    """Room kept free in a cluster, as a share of the mean number of sessions."""
    core: float = 8.0
    """GB of machine for the cluster's own services, which are never given back."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Money a month, by what it is for."""

    machines: float = 0.0
    control_plane: float = 0.0
    disk: float = 0.0
    traffic: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.machines + self.control_plane + self.disk + self.traffic


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to carry a load."""

    name: str
    kind: str
    """``one machine``, ``federation`` or ``cluster``."""
    machine: Machine
    count: int
    """Machines; for a cluster the mean number."""
    places: int
    """Sessions that fit at once; for a cluster on one of its machines."""
    costs: Costs
    wait_p95: float
    """Seconds that 19 of 20 launches do not exceed until there is a place for them."""
    nodes: tuple[int, ...] = field(default=(), repr=False)
    """Machines of a cluster in each slot."""

    @property
    def month(self) -> float:
        """Money a month."""
        return self.costs.total


def hardware(machine: Machine, assumed: Assumptions) -> Hardware:
    """Give a machine as ``binderlet swap setup`` leaves it: zram of half of memory, a file of twice memory or less."""
    memory = int(machine.memory * GIB)
    disk = (machine.disk or assumed.disk) * GIB
    file = max(0, min(2 * memory, int((disk - DISK_FREE) * 2 / 3)))
    return Hardware(memory, machine.cores, zram=memory // 2, disk_swap=file)


def places_of(machine: Machine, load: Load, assumed: Assumptions, peak: float) -> int:
    """Give the sessions that fit a machine while it builds what its share of the load needs; ``peak`` per second."""
    has = hardware(machine, assumed)
    builds = math.ceil(peak * load.built * load.build_seconds)
    left = max(has.memory // 2, has.memory - builds * assumed.build_memory)
    return min(MOST_PLACES, fits(Hardware(left, has.cores, has.zram, has.disk_swap), assumed.session_memory))


@lru_cache(maxsize=1024)
def fits(has: Hardware, session_memory: int) -> int:
    """Give the sessions that fit a machine by the sum that the service itself makes."""
    return capacity(has, planned(session_memory)).sessions


def fixed_plan(
    machine: Machine, count: int, load: Load, prices: Prices, assumed: Assumptions, *, sessions: Sequence[float]
) -> Plan:
    """Plan one machine, or several in a federation whose redirector sends launches where there is room."""
    peak = max(load.arrivals) / SLOT / count
    places = places_of(machine, load, assumed, peak)
    provider = prices.provider(machine.provider)
    sent = max(0.0, load.per_month * load.egress / 1e9 - count * machine.traffic * 1000)
    costs = Costs(
        machines=count * machine.price,
        disk=0.0 if machine.disk else count * assumed.disk * provider.disk,
        traffic=sent * provider.traffic,
    )
    wait = percentile(fixed_tail(load, sessions, places * count))
    kind, name = ("one machine", machine.label) if count == 1 else ("federation", f"{count} x {machine.label}")
    return Plan(name, kind, machine, count, places * count, costs, wait)


def per_node(assumed: Assumptions) -> int:
    """Give the sessions that fit a machine of a cluster."""
    fit = int((assumed.node_memory - assumed.node_reserve) * GIB / assumed.guarantee)
    return max(1, min(assumed.pods, fit))


def nodes_over_time(load: Load, sessions: Sequence[float], assumed: Assumptions) -> list[int]:
    """Give a cluster's machines in each slot: they come when needed, and go when their last session has ended.

    A machine whose sessions are no longer needed is held by those that stay longest: half of its sessions' remaining
    time is taken for it, and the time it must have been empty.
    """
    fit, spare = per_node(assumed), assumed.spare * sum(sessions) / len(sessions)
    # What varies around the mean is held ready for as well.
    needed = [math.ceil((wanted + math.sqrt(wanted) + spare) / fit) for wanted in sessions]
    hold = max(1, math.ceil((load.lengths.quantile(0.75) + assumed.idle) / SLOT))
    window: deque[tuple[int, int]] = deque()
    found = []
    for at in range(-min(hold, len(needed)), len(needed)):
        count = needed[at]
        while window and window[-1][1] <= count:
            window.pop()
        window.append((at, count))
        if window[0][0] <= at - hold:
            window.popleft()
        if at >= 0:
            found.append(max(1, window[0][1]))
    return found


def cluster_plan(
    machine: Machine, load: Load, prices: Prices, assumed: Assumptions, sessions: Sequence[float]
) -> Plan | None:
    """Plan an autoscaling managed Kubernetes; None where the provider has none."""
    provider = prices.provider(machine.provider)
    if provider.kubernetes is None:
        return None
    nodes = nodes_over_time(load, sessions, assumed)
    mean = sum(nodes) / len(nodes)
    share = machine.price / machine.memory
    costs = Costs(
        machines=share * (assumed.node_memory * mean + assumed.core),
        control_plane=provider.kubernetes * HOURS,
        disk=assumed.disk * provider.disk * max(1.0, mean),
        traffic=load.per_month * load.egress / 1e9 * provider.traffic,
    )
    spare = assumed.spare * sum(sessions) / len(sessions)
    wait = percentile(scaled_tail(load, sessions, spare, per_node(assumed), assumed.lag))
    name = f"{machine.provider} Kubernetes, {assumed.node_memory:.0f} GB machines"
    return Plan(name, "cluster", machine, round(mean), per_node(assumed), costs, wait, tuple(nodes))


def all_plans(load: Load, prices: Prices, assumed: Assumptions, *, most: int = 4) -> list[Plan]:
    """Plan the load in every way, the cheapest first; federations of up to ``most`` machines of one kind."""
    sessions = concurrency(load)
    plans: list[Plan] = []
    clusters: set[str] = set()
    for machine in prices.machines:
        plans += [
            fixed_plan(machine, count, load, prices, assumed, sessions=sessions) for count in range(1, max(1, most) + 1)
        ]
        if machine.provider not in clusters:
            clusters.add(machine.provider)
            cluster = cluster_plan(machine, load, prices, assumed, sessions)
            plans += [cluster] if cluster else []
    return sorted(plans, key=lambda plan: (plan.month, plan.wait_p95))
