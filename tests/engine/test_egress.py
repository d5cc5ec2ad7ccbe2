"""Network rules as text."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from binderlet.engine.egress import Rules, mark, render, table

RULES = Rules("mine", ("br-0123456789ab", "bl0f0f*"), ("443", "80", "80-90", "1094-1095"), (("10.1.2.3/32", "5432"),))
OPEN = replace(RULES, ports=(), allow=(("fd00::/8", "all"),))


def _order(rules: Rules, *parts: str) -> None:
    text = render(rules)
    places = [text.index(part) for part in parts]
    assert places == sorted(places), parts


def test_order() -> None:
    """What is allowed comes before what is private, and that before the ports of the internet."""
    _order(RULES, "established", "dport 53", "10.1.2.3/32", "type { local", "169.254.0.0/16", "fc00::/7", "tcp dport")
    _order(OPEN, "ip6 daddr fd00::/8 accept", "fc00::/7", "{ 25, 465, 587 }")


def test_who_is_held() -> None:
    """Each bridge, on its way to others and to this machine."""
    text = render(RULES)
    for bridge in RULES.bridges:
        assert text.count(f'iifname "{bridge}" jump {mark(RULES)}') == 2
    assert text.startswith(f"table inet {table('mine')}\ndelete table inet {table('mine')}\n")


def test_ports() -> None:
    """Ranges that overlap are joined; without ports only mail is kept."""
    assert "tcp dport { 80-90, 443, 1094-1095 } accept" in render(RULES)
    assert render(OPEN).count("goto refuse") == 6
    assert render(RULES).count("goto refuse") == 6


def test_builds() -> None:
    """Only what providers tell a machine is kept from them, but for names, which some providers have there."""
    text = render(replace(RULES, builds=("docker0",)))
    assert text.count('iifname "docker0" jump builds') == 1
    _, _, builds = text.partition("chain builds {")
    assert builds.index("dport 53 accept") < builds.index("168.63.129.16") < builds.index("fd00:ec2::254")
    assert "10.0.0.0/8" not in builds


def test_mark_follows_the_rules() -> None:
    """Any change gives another."""
    assert mark(RULES) == mark(replace(RULES))
    assert len({mark(RULES), mark(OPEN), mark(replace(RULES, builds=("br-1",)))}) == 3


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="needs nftables"
)
@pytest.mark.parametrize("rules", [RULES, OPEN, replace(RULES, bridges=(), builds=("docker0",))])
def test_nft_takes_it(rules: Rules) -> None:
    """The program finds no mistake in it."""
    done = subprocess.run(
        ["/usr/sbin/nft", "--check", "-f", "-"], input=render(rules), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
