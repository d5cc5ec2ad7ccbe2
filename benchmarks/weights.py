"""``weights``: how far the shares that members get are from those that were configured, in percentage points.

100,000 repositories are given to members by the redirector's own code, for several sets of weights and all members
well. The largest difference of any member in any set counts; the goal is at most one point.
"""

from __future__ import annotations

from collections import Counter

from benchmarks._figure import Figure, say
from binderlet.federation.redirector import Redirector
from support.federation import federation, well

SPECS = 100_000
SETS: dict[str, list[float]] = {
    "three equal": [50, 50, 50],
    "70 of 100": [70, 20, 10],
    "one small": [100, 100, 1],
    "twelve": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
}


def paths() -> list[bytes]:
    """Give repositories as people name them: of many owners, on several hosts."""
    made = [b"/build/gh/owner%d/course-%d/HEAD" % (number % 977, number) for number in range(SPECS * 8 // 10)]
    left = SPECS - len(made)
    made += [b"/build/git/https%%3A%%2F%%2Fgit.example.org%%2Fu%d%%2Fr%d/main" % (n % 97, n) for n in range(left // 2)]
    return made + [b"/build/zenodo/10.5281/zenodo.%d/" % (3_000_000 + number) for number in range(SPECS - len(made))]


def difference(weights: list[float], balance: str) -> float:
    """Give the largest difference between a member's share and its part of the weights, in percentage points."""
    wanted = federation({f"m{number}": weight for number, weight in enumerate(weights)}, load_balancer=balance)
    redirector = Redirector(wanted)
    for name in wanted.members:
        redirector.learn(name, well())
    given = Counter(redirector.give(path, b"") for path in paths())
    total = sum(weights)
    return max(abs(given[f"m{number}"] / SPECS - weight / total) * 100 for number, weight in enumerate(weights))


def main() -> None:
    """Measure and print."""
    found = {}
    for balance in ("rendezvous", "random"):
        for name, weights in SETS.items():
            found[f"{name}, {balance}"] = round(difference(weights, balance), 3)
            say(f"{name}, {balance}: {found[f'{name}, {balance}']} points")
    Figure("weights", max(found.values()), None, "percentage points", 1, {"specs": SPECS, "sets": found}).print()


if __name__ == "__main__":
    main()
