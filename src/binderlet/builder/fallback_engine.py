"""repo2docker's way to the build tool that binderlet chose: an entry point ``repo2docker.engines``.

repo2docker's own engine insists on Docker's buildx plugin; this one also builds with an older command line tool and
with Podman. It runs inside repo2docker's process, never inside the control plane.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from repo2docker.docker import DockerEngine  # type: ignore[import-untyped] # it has no annotations

from binderlet.builder import fallback
from binderlet.builder.foreign import with_conda, with_network
from binderlet.builder.toolchain import BuildCommand


class BinderletEngine(DockerEngine):  # type: ignore[misc] # its base has no annotations
    """Builds with the tool that the variables of ``fallback.FallbackJob`` name."""

    string_output = True

    @property
    def container_cli(self) -> str:
        """The program, which has been tried already."""
        return fallback.toolchain(os.environ).program

    def build(
        self,
        *,
        buildargs: Mapping[str, str] | None = None,
        tag: str = "",
        dockerfile: str = "",
        fileobj: IO[bytes] | None = None,
        path: str = "",
        labels: Mapping[str, str] | None = None,
        **_others: Any,  # noqa: ANN401 - limits, caches and pushing, which are ours to decide
    ) -> Iterator[str]:
        """Build an image from a folder, or from an archive that repo2docker made; yields what the tool prints."""
        with tempfile.TemporaryDirectory(prefix="binderlet-repo2docker-") as folder:
            root = Path(path or folder)
            if fileobj is not None:
                with tarfile.open(fileobj=fileobj) as archive:
                    # repo2docker wrote it a moment ago, from a folder and without following links. The attribute
                    # means something from Python 3.11.4 on; before that, archives are always taken as they are.
                    archive.extraction_filter = lambda member, _path: member
                    archive.extractall(folder)  # noqa: S202 - see above
                root = Path(folder)
                # Podman is told to read it; an empty one would make Docker look for another.
                (root / "Dockerfile.dockerignore").write_text("# nothing\n", encoding="utf-8")
            secrets = json.loads(os.environ.get(fallback.SECRETS, "{}"))
            if fileobj is not None:  # written by repo2docker: one that is a repository's own is built as it is
                file = root / (dockerfile or "Dockerfile")
                text = with_network(
                    file.read_text("utf-8"), secrets, json.loads(os.environ.get(fallback.VARIABLES, "{}"))
                )
                file.write_text(text, encoding="utf-8")
                _use_conda_mirror(root / "build_script_files")
            command = BuildCommand(
                dockerfile=root / (dockerfile or "Dockerfile"),
                context=root,
                tag=tag,
                labels=dict(labels or {}),
                arguments=dict(buildargs or {}),
                secrets={name: Path(path) for name, path in secrets.items()},
                cache_namespace=os.environ.get(fallback.NAMESPACE, ""),
                has_ignore_file=fileobj is not None,
            )
            yield from _run(fallback.toolchain(os.environ).command_line(command))


def _use_conda_mirror(folder: Path) -> None:
    """Lead repo2docker's own scripts and lists to the operator's mirror and channels."""
    mirror, *channels = json.loads(os.environ.get(fallback.CONDA, '[""]'))
    for path in folder.glob("*"):
        text = path.read_text(encoding="utf-8")
        path.write_text(with_conda(text, mirror, channels), encoding="utf-8")


def _run(command: Sequence[str]) -> Iterator[str]:
    """Run a program; yields its output line by line.

    Raises:
        subprocess.CalledProcessError: it failed; repo2docker expects this one.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        yield from process.stdout or ()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
