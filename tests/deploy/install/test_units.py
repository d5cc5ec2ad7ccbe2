"""Files of the installed service, read by the programs they are for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from binderlet.deploy.install import units
from binderlet.deploy.install.services import BACKUP_TIMER, BUILDS, SESSIONS, SLICE


@pytest.mark.skipif(shutil.which("nft") is None, reason="nftables is not installed")
@pytest.mark.parametrize(("ports", "text"), [({22, 80, 443}, "22, 80, 443"), ({2222, 80, 443}, "80, 443, 2222")])
def test_the_firewall_is_taken_by_nft(tmp_path: Path, ports: set[int], text: str) -> None:
    """The rules are valid, leave open ssh wherever it is and the web, and are nobody else's when taken twice."""
    rules = tmp_path / "rules.nft"
    rules.write_text(units.firewall(ports))
    assert f"tcp dport {{ {text} }} accept" in rules.read_text()
    # In a network of its own, where they may be real.
    script = f"nft -f {rules} && nft -f {rules} && nft list tables && nft delete table inet binderlet_host"
    done = subprocess.run(["unshare", "--net", "sh", "-ec", script], check=True, capture_output=True, text=True)
    assert done.stdout == "table inet binderlet_host\n"


def test_every_file_says_who_wrote_it() -> None:
    """An operator who finds one knows where it is from."""
    texts = [units.SWAP, units.SYSCTL, units.JOURNAL, units.UPDATES, units.FIREWALL_UNIT]
    texts += [SLICE, SESSIONS, BUILDS, BACKUP_TIMER]
    assert all("Written by 'binderlet install'" in text for text in (*texts, units.firewall({22})))
    assert units.UPDATES.startswith("//")
