"""Which large packages of an environment get layers of their own, so that other environments share them (pure).

A *stack* is an order of such packages, each installed on top of those before it: two environments share the layers up
to the first package in which they differ. The layers hold nothing but wheels from the service's own index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from binderlet.builder import requirements
from binderlet.builder.plan import Kind, Plan
from binderlet.config.network import NetworkEnvironment

SMALLEST = 4_000_000
"""Bytes of a wheel; smaller ones are installed sooner than a layer is begun."""
LARGEST = 100_000_000
"""Bytes of a wheel; layers of larger ones would take more disk than they save time."""
ASSUMED = 20_000_000
"""Bytes of a wheel in ``FIRST`` whose size the index does not tell, as those in HTML never do."""
TOGETHER = 200_000_000
"""Bytes of all wheels of one stack."""
MOST = 6
"""Packages in a stack: an engine has a limit on layers."""
FIRST = (
    "numpy",
    "pandas",
    "scipy",
    "pillow",
    "fonttools",
    "matplotlib",
    "scikit-learn",
    "pyarrow",
    "polars",
)
"""What most environments share comes first: the order decides which layers are common."""
MOST_LINES = 300
"""Requirements beyond which looking for a stack would take longer than it saves."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Packages with layers of their own, ``name==version``, in their order."""

    pins: tuple[str, ...] = ()
    source: str = ""
    """Names the package indexes: the same version from elsewhere may be another package."""


def source_of(network: NetworkEnvironment) -> str:
    """Name the indexes that packages come from."""
    return _digest([network.index_url, *network.extra_index_urls])


def foundation_of(base_id: str, plan: Plan, source: str) -> str:
    """Name what stacks stand on: the base image with a repository's Debian packages, and the indexes."""
    return _digest([base_id, plan.python, *plan.apt, source])


def key_of(foundation: str, pins: Iterable[str]) -> str:
    """Name a stack on a foundation."""
    return _digest([foundation, *pins])


def pins_of(lock: str, without: Collection[str]) -> tuple[str, ...]:
    """Give the packages in the short form of a lock, as pins; whatever is none is left out.

    A build step printed it, and might print anything.
    """
    try:
        listed = json.loads(lock)["python_packages"]
    except (ValueError, KeyError, TypeError):
        return ()
    pins = listed if isinstance(listed, list) else []
    return tuple(pin for pin in map(str, pins) if requirements.pins_in(pin) == [pin] and pin not in without)


def asked_by(plan: Plan) -> tuple[Requirement, ...]:
    """Give the packages that a plan asks for; nothing where it does more than naming packages and versions.

    Hashes, options, constraints, addresses and variables are left to the installation itself.
    """
    if plan.kind is not Kind.PYTHON or plan.conda is not None or plan.is_locked:
        return ()
    found: list[Requirement] = []
    for path, text in plan.requirements.items():
        for line in requirements.parse(text, path):
            if line.kind is requirements.Kind.INCLUDE and not line.is_remote:
                continue
            plain = _plain(line)
            if plain is None:
                return ()
            found.append(plain)
    return tuple(found) if len(found) <= MOST_LINES else ()


def names_of(asked: Iterable[Requirement]) -> frozenset[str]:
    """Give the names of packages, in the one way to write them."""
    return frozenset(canonicalize_name(each.name) for each in asked)


def names_in(asked: Iterable[Requirement], pins: Iterable[str]) -> frozenset[str]:
    """Give the names of the packages that were asked for and installed; others are for other systems."""
    return names_of(asked) & {_name(pin) for pin in pins}


def order(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Give the stack of an environment; ``sizes`` has the bytes of its wheels by pin, 0 where they are not known."""
    assumed = {pin: size or (ASSUMED if _name(pin) in FIRST else 0) for pin, size in sizes.items()}
    fitting = [pin for pin, size in assumed.items() if SMALLEST <= size <= LARGEST]
    chosen: list[str] = []
    room = TOGETHER
    for pin in sorted(fitting, key=_rank):
        if len(chosen) < MOST and assumed[pin] <= room:
            chosen.append(pin)
            room -= assumed[pin]
    return tuple(chosen)


def choose(known: Iterable[Sequence[str]], wanted: Collection[str]) -> tuple[str, ...]:
    """Give the longest beginning of a known stack of which every package is wanted."""
    best: tuple[str, ...] = ()
    for stack in known:
        common = next((n for n, pin in enumerate(stack) if pin not in wanted), len(stack))
        best = max(best, tuple(stack[:common]), key=len)
    return best


def covers(known: Iterable[Sequence[str]], pins: Sequence[str]) -> bool:
    """Whether a known stack begins with these packages."""
    return any(tuple(stack[: len(pins)]) == tuple(pins) for stack in known)


def _plain(line: requirements.Line) -> Requirement | None:
    if line.kind is not requirements.Kind.REQUIREMENT or "${" in line.text:
        return None
    try:
        found = Requirement(line.text)
    except InvalidRequirement:
        return None
    return None if found.url else found


def _name(pin: str) -> str:
    return pin.partition("==")[0]


def _rank(pin: str) -> tuple[int, str]:
    name = _name(pin)
    return (FIRST.index(name) if name in FIRST else len(FIRST), pin)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:24]
