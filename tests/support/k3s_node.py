"""A machine for K3s, as a folder: programs that write down how they were called, and an installer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CALLS = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"{told}"
"""
INSTALL = """\
#!/bin/sh
set -e
env | grep ^INSTALL_K3S | sort | tr '\\n' ' ' >>"{told}"
echo >>"{told}"
[ ! -e "{root}/broken" ] || exit 1
mkdir -p "{root}/usr/local/bin" "{root}/etc/systemd/system"
if [ "$INSTALL_K3S_SKIP_DOWNLOAD" != true ]; then
  printf '#!/bin/sh\\necho "k3s version v1.33.9+k3s1 (abc)"\\n' >"{root}/usr/local/bin/.new"
  chmod 755 "{root}/usr/local/bin/.new"
  mv "{root}/usr/local/bin/.new" "{root}/usr/local/bin/k3s"
fi
[ ! -e "{root}/does-not-start" ] || exit 1
name=k3s; [ "$INSTALL_K3S_EXEC" = server ] || name=k3s-agent
touch "{root}/etc/systemd/system/$name.service"
"""


class Node:
    """``root`` stands for ``/``; ``told`` gives what ran since it was asked last, one line each."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self._told = folder / "told"
        programs = folder / "programs"
        programs.mkdir()
        for name in ("systemctl", "sysctl"):
            (programs / name).write_text(CALLS.format(told=self._told))
            (programs / name).chmod(0o755)
        self.installer = INSTALL.format(told=self._told, root=self.root)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        self.files = folder / "airgap"
        """What a machine without internet has."""
        self.files.mkdir()
        (self.files / "install.sh").write_text(self.installer)
        self.bring("v1.33.4+k3s1")

    def bring(self, version: str) -> None:
        """Put a release into the folder for machines without internet."""
        (self.files / "k3s").write_text(f'#!/bin/sh\necho "k3s version {version} (abc)"\n')
        (self.files / "k3s-airgap-images.tar.zst").write_text(f"images of {version}")

    def told(self) -> list[str]:
        """Give what ran."""
        if not self._told.exists():
            return []
        lines = [line.strip() for line in self._told.read_text().splitlines()]
        self._told.unlink()
        return lines

    def program(self) -> str:
        """Give the text of the K3s that is installed."""
        return (self.root / "usr/local/bin/k3s").read_text()
