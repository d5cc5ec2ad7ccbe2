"""Tables of nftables, on the kernel's own, and what the program says against it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from binderlet.clients.nftables import NftablesUnusable, ensure, remove


def _script(table: str, chain: str) -> str:
    return f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{ chain {chain} {{ }}\n}}\n"


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="needs nftables"
)
def test_a_table_comes_changes_and_goes() -> None:
    """It is set once, set anew where it changes, and removed as often as one likes."""
    name = f"binderlet-test-{uuid4().hex[:8]}"
    try:
        assert ensure(name, "one", _script(name, "one"))
        assert not ensure(name, "one", _script(name, "one"))
        assert ensure(name, "two", _script(name, "two"))
        assert ensure(name, "one", _script(name, "one"))
        with pytest.raises(NftablesUnusable, match=r"nft said: .*rror"):
            ensure(name, "three", f"table inet {name} {{ nonsense }}")
    finally:
        remove(name)
    remove(name)
    with pytest.raises(NftablesUnusable, match="nft said"):
        remove("no name")


def test_where_it_cannot_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program, without root, or when the program hangs, the reason is told."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(NftablesUnusable, match="apt-get install nftables"):
        remove("x")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/sbin/nft")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NftablesUnusable, match="not root"):
        ensure("x", "y", "")

    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nft", 20)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(NftablesUnusable, match="within 20 s"):
        remove("x")


def test_a_silent_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that fails without a word is reported all the same."""
    program = tmp_path / "nft"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(program))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NftablesUnusable, match="nft said: nothing"):
        remove("x")
