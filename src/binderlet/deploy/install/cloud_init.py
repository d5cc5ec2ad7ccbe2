"""User-data for any provider's machine, so that it becomes a service at its first boot. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

FOLDER = "/var/lib/binderlet-deploy"


def user_data(source: str, arguments: Sequence[str]) -> str:
    """Give the text; ``source`` is what pip installs: a version from the index, or the URL of a wheel."""
    commands = (
        f"python3 -m venv {FOLDER}/boot",
        f"{FOLDER}/boot/bin/pip install --quiet {shlex.quote(source)}",
        shlex.join([f"{FOLDER}/boot/bin/binderlet", "install", *arguments]),
    )
    lines = "".join(f"  - {_quoted(command)}\n" for command in commands)
    return (
        "#cloud-config\n"
        "# Makes this machine a binderlet service; /var/log/cloud-init-output.log tells how it goes.\n"
        "package_update: true\n"
        "packages: [python3, python3-venv, ca-certificates]\n"
        f"runcmd:\n  - mkdir -p {FOLDER}\n{lines}"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
