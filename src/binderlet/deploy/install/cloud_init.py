"""User-data for any provider's machine, so that it becomes a service at its first boot. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from binderlet.config.load import is_secret
from binderlet.deploy.install.wanted import ASKED, DEPLOYED


def user_data(source: str, asked: Mapping[str, Any]) -> str:
    """Give the text; ``source`` is what pip installs: a version from the index, or the URL of a wheel.

    What is asked for goes into a file for root alone: command lines can be read by everybody on a machine.
    """
    boot = DEPLOYED / "boot"
    commands = (
        f"python3 -m venv {boot}",
        f"{boot}/bin/pip install --quiet {shlex.quote(source)}",
        f"{boot}/bin/binderlet install --asked-in {ASKED}",
    )
    lines = "".join(f"  - {_quoted(command)}\n" for command in commands)
    content = "".join(f"      {line}\n" for line in json.dumps(asked, indent=1).splitlines())
    return (
        "#cloud-config\n"
        "# Makes this machine a binderlet service; /var/log/cloud-init-output.log tells how it goes.\n"
        + ("# It holds keys: keep it as you keep them.\n" if has_secrets(asked) else "")
        + "package_update: true\n"
        "packages: [python3, python3-venv, ca-certificates]\n"
        f"write_files:\n  - path: {ASKED}\n    permissions: '0600'\n    content: |\n{content}"
        f"runcmd:\n{lines}"
    )


def has_secrets(asked: Mapping[str, Any]) -> bool:
    """Whether there are secrets among the settings, by their names and values."""
    settings = asked.get("settings", {})
    return any(is_secret({key.rpartition(".")[2]: value}) for key, value in settings.items())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
