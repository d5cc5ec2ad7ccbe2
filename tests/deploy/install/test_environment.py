"""Environments that share their packages."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from binderlet.deploy.install.environment import share

SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A real one with a package that has a program, and with binderlet itself."""
    made = tmp_path / "old"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    site = made / SITE
    for name in ("pkg", "binderlet", "binderlet-0.1.0.dist-info"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("import sys\nplace = sys.prefix\n")
    for name in ("tool", "binderlet"):
        (made / "bin" / name).write_text(f"#!{made}/bin/python\nfrom pkg import place\nprint(place)\n")
        (made / "bin" / name).chmod(0o755)
    return made


def test_packages_and_programs_are_shared(source: Path, tmp_path: Path) -> None:
    """Files are the same ones on the disk, programs run where they are; binderlet is each release's own."""
    target = tmp_path / "new"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
    share(source, target)
    said = subprocess.run([str(target / "bin" / "tool")], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == str(target)
    module = f"{SITE}/pkg/__init__.py"
    assert (source / module).samefile(target / module)
    assert not (target / "bin" / "binderlet").exists()
    assert {path.name for path in (target / SITE).iterdir()} == {"pkg"}


def test_on_another_file_system(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there can be no links there are copies; programs that are none of Python's are as they were."""

    def no_link(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", no_link)
    (source / "bin" / "binary").write_bytes(b"\x7fELF")
    share(source, tmp_path / "new")
    assert (tmp_path / "new" / SITE / "pkg" / "__init__.py").exists()
    assert (tmp_path / "new" / "bin" / "binary").read_bytes() == b"\x7fELF"
