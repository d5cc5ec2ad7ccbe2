"""The program that becomes mmdebstrap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from binderlet.builder.base_recipe import PACKAGES
from binderlet.deploy.helper.bootstrap import command


def test_packages_are_this_releases() -> None:
    """Whoever asks names a release and archives; packages and options are ours."""
    made = command("bookworm", ["deb http://d bookworm main"])
    assert made[0] == "mmdebstrap"
    assert made[-3:] == ["bookworm", "-", "deb http://d bookworm main"]
    assert f"--include={','.join((*PACKAGES, 'python3-distutils'))}" in made


def test_it_becomes_the_program(tmp_path: Path) -> None:
    """The process is mmdebstrap's then, with its exit code."""
    program = tmp_path / "mmdebstrap"
    program.write_text('#!/bin/sh\necho "$@"; exit 9\n')
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-m", "binderlet.deploy.helper.bootstrap", "trixie"],
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9
    assert done.stdout.endswith("trixie -\n")
