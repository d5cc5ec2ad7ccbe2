"""What sessions may reach on the network, as rules of nftables: pure.

A table of this service's own, so that nothing of Docker's or the operator's is touched: what it refuses is refused,
what it lets pass is still up to theirs. Only what comes from the sessions' bridges is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

ALL_PORTS = "all"
PRIVATE = {
    "ip": (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "168.63.129.16/32"),
    ),
    "ip6": ("::/96", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8"),
}
"""Addresses that are not the internet's: private, shared, multicast, and where clouds tell a machine its secrets."""
METADATA = {
    "ip": ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"),
    "ip6": ("fe80::/10", "fd00:ec2::254/128", "fd00:42::42/128", "fd20:ce::254/128"),
}
"""Where providers tell a machine its user-data and keys."""
MAIL = ("25", "465", "587")
DNS = "53"
REFUSE = "goto refuse"
NAMES = f"meta l4proto {{ tcp, udp }} th dport {DNS} accept"
"""Resolvers are private as a rule, and some providers' are where their metadata is."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is held, and what is let through."""

    name: str
    """Of the service on this machine."""
    bridges: tuple[str, ...]
    """Interfaces of the sessions' networks; one that ends with ``*`` stands for all that begin so."""
    ports: tuple[str, ...] = ()
    """TCP ports on the internet, such as ``443`` or ``1094-1095``; empty: all but those for sending mail."""
    allow: tuple[tuple[str, str], ...] = ()
    """Subnets that may be reached whatever they are, each with ports, or ``ALL_PORTS``."""
    builds: tuple[str, ...] = ()
    """Interfaces of networks with build steps, and with others' containers too: only ``METADATA`` is kept from them."""


def table(name: str) -> str:
    """Give the name of a service's table."""
    return f"binderlet-egress-{name}"


def mark(rules: Rules) -> str:
    """Give the name of the chain that is there when exactly these rules are in force."""
    text = json.dumps([asdict(rules), PRIVATE, METADATA, MAIL, REFUSE], sort_keys=True)
    return f"rules-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def render(rules: Rules) -> str:
    """Give the script that puts these rules into force at once, instead of what the table held."""
    name, chain = table(rules.name), mark(rules)
    held = "\n".join(f'    iifname "{bridge}" jump {chain}' for bridge in rules.bridges)
    body = "\n".join(f"    {line}" for line in _lines(rules))
    steps = "\n".join(f'    iifname "{bridge}" jump builds' for bridge in rules.builds)
    kept = "\n".join(f"    {line}" for line in _lines_of_builds())
    hooks = "\n".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority filter - 10; policy accept;\n{held}\n{more}\n  }}"
        for hook, more in (("forward", steps), ("input", ""))
    )
    return f"""\
table inet {name}
delete table inet {name}
table inet {name} {{
  chain refuse {{
    # At once: of the other answers the kernel sends one a second.
    meta l4proto tcp counter reject with tcp reset
    counter reject with icmpx admin-prohibited
  }}
  chain {chain} {{
{body}
  }}
  chain builds {{
{kept}
  }}
{hooks}
}}
"""


def _lines(rules: Rules) -> Iterator[str]:
    """Give the rules in order; the first that fits decides."""
    # Answers to visitors, and to what was let through.
    yield "ct state established,related accept"
    yield NAMES
    yield "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept"
    for subnet, ports in rules.allow:
        family = "ip6" if ":" in subnet else "ip"
        which = "" if ports == ALL_PORTS else f" meta l4proto {{ tcp, udp }} th dport {ports}"
        yield f"{family} daddr {subnet}{which} accept"
    yield f"fib daddr type {{ local, broadcast, multicast }} {REFUSE}"
    for family, subnets in PRIVATE.items():
        yield f"{family} daddr {_set(subnets)} {REFUSE}"
    if rules.ports:
        yield f"tcp dport {_set(_joined(rules.ports))} accept"
        yield REFUSE
    else:
        yield f"tcp dport {_set(MAIL)} {REFUSE}"


def _lines_of_builds() -> Iterator[str]:
    yield NAMES
    for family, subnets in METADATA.items():
        yield f"{family} daddr {_set(subnets)} {REFUSE}"


def _set(elements: Sequence[str]) -> str:
    return f"{{ {', '.join(elements)} }}"


def _joined(ports: Iterable[str]) -> list[str]:
    """Give the ports as ranges that do not overlap, which a set does not take."""
    ranges = sorted((int(first), int(last or first)) for first, _, last in (each.partition("-") for each in ports))
    found: list[tuple[int, int]] = []
    for first, last in ranges:
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]
