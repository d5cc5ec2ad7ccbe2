"""A container image of binderlet itself, for clusters, made by mmdebstrap alone: no engine and no registry is needed.

It has Debian, this release with the exact versions of its lock file, HAProxy and git.

The archive is of the form that ``docker load``, ``podman load`` and ``ctr images import`` read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from binderlet.builder import base_recipe
from binderlet.config.network import NetworkEnvironment, network_environment, read_text
from binderlet.config.schema import Settings
from binderlet.deploy.install.release import Release
from binderlet.errors import BuildFailed, MissingProgram

SUITE = "bookworm"
"""Its Python, 3.11, is the oldest that binderlet runs on, and the one that the lock file is for."""
PACKAGES = ("python3", "python3-venv", "ca-certificates", "git", "git-lfs", "haproxy")
UID = 10001
HOME = "/var/lib/binderlet"
PROGRAM = "/opt/binderlet"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
KEPT_WORDS = 60
"""Words of a failed run that the error has."""
PIECE = 1024**2

Run = Callable[[Sequence[str], Mapping[str, str]], None]


def command(release: Release, network: NetworkEnvironment, sources: Sequence[str], target: Path) -> list[str]:
    """Give the command that writes the image's files as a tar archive."""
    place, bundle = "/tmp/binderlet", "/tmp/binderlet/ca.pem"  # noqa: S108 - in the image, and removed again
    variables = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_NO_COMPILE": "1"}
    variables |= network.variables(bundle if network.ca_bundle else "")
    inside = f'chroot "$1" env {shlex.join(f"{key}={value}" for key, value in sorted(variables.items()))}'
    pip = f"{inside} {PROGRAM}/bin/pip install --quiet"
    given = [release.wheel, release.lock]
    hooks = [
        f'mkdir -p "$1"{place} "$1"{HOME}/run "$1"/etc/binderlet',
        *(f'cp {shlex.quote(str(path))} "$1"{place}/' for path in given),
        *([f'cp {shlex.quote(str(network.ca_bundle))} "$1"{bundle}'] if network.ca_bundle else []),
        f"{inside} python3 -m venv {PROGRAM}",
        f"{pip} --require-hashes --requirement {place}/{release.lock.name}",
        f"{pip} --no-deps {place}/{release.wheel.name}",
        f'chroot "$1" {PROGRAM}/bin/python -m compileall -q {PROGRAM}/lib >/dev/null || true',
        f'ln -s {PROGRAM}/bin/binderlet "$1"/usr/local/bin/binderlet',
        f'printf "binderlet:x:{UID}:{UID}::{HOME}:/usr/sbin/nologin\\n" >> "$1"/etc/passwd',
        f'printf "binderlet:x:{UID}:\\n" >> "$1"/etc/group',
        f'chown -R {UID}:{UID} "$1"{HOME}',
        f'rm -rf "$1"{place} "$1"/var/lib/apt/lists/* && cd "$1" && rm -rf {base_recipe.LEFTOVERS} usr/share/locale/*',
    ]
    written = base_recipe.DPKG_CONFIGURATION.replace("\n", "\\n")
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=Acquire::Languages "none"',
        "--aptopt=Acquire::Retries 2",
        "--dpkgopt=force-unsafe-io",
        f"""--extract-hook=printf '{written}' > "$1"/etc/dpkg/dpkg.cfg.d/binderlet""",
        *(f"--customize-hook={hook}" for hook in hooks),
        *([f"--keyring={base_recipe.KEYRING}"] if Path(base_recipe.KEYRING).exists() else []),
        SUITE,
        str(target),
        *sources,
    ]


def network_of(settings: Settings) -> NetworkEnvironment:
    """Give mirrors, indexes and certificates: the settings', or else this machine's own."""
    return network_environment(settings.network, os.environ, read_text)


def sources_of(settings: Settings) -> list[str]:
    """Give the Debian mirrors: the setting's, or else this machine's own, or none, which means Debian's."""
    apt = Path("/etc/apt")
    paths = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    texts = [text for path in paths if (text := read_text(path)) is not None]
    wanted = settings.builder.model_copy(update={"base_suite": SUITE})
    return base_recipe.sources(wanted, base_recipe.host_sources(SUITE, texts))


def config(layer: str, machine: str) -> dict[str, object]:
    """Give the image's configuration; ``layer`` is its only layer's digest."""
    return {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {
            "User": f"{UID}:{UID}",
            "Env": [f"PATH={PROGRAM}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={HOME}"],
            "Cmd": ["binderlet", "up"],
            "WorkingDir": HOME,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created_by": "binderlet k3s image"}],
    }


def pack(files: Path, name: str, target: Path) -> str:
    """Write an image of one layer to ``target``, and give its id; blocks."""
    digest = _digest(files)
    body = json.dumps(config(f"sha256:{digest}", platform.machine()), sort_keys=True).encode()
    image = hashlib.sha256(body).hexdigest()
    manifest = [{"Config": f"{image}.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        for entry, text in ((f"{image}.json", body), ("manifest.json", json.dumps(manifest).encode())):
            member = tarfile.TarInfo(entry)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        archive.add(files, f"{digest}/layer.tar")
    return f"sha256:{image}"


def make(
    release: Release,
    network: NetworkEnvironment,
    name: str,
    target: Path,
    *,
    sources: Sequence[str] = (),
    run: Run | None = None,
) -> str:
    """Make the image of a release as an archive, and give its id; takes some minutes, and needs root.

    Raises:
        MissingProgram: mmdebstrap is not installed.
        BuildFailed: it failed, in its own words.
    """
    if run is None and shutil.which("mmdebstrap") is None:
        raise MissingProgram(
            "Making the image needs the program 'mmdebstrap', which is not installed.",
            hint="Try 'apt-get install mmdebstrap debian-archive-keyring'.",
        )
    with tempfile.TemporaryDirectory(prefix="binderlet-image-", dir=target.absolute().parent) as folder:
        files = Path(folder) / "layer.tar"
        (run or _run)(command(release, network, sources, files), network.clone_environment())
        return pack(files, name, target)


def _run(given: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(given, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(done.stderr.split()[-KEPT_WORDS:])
        raise BuildFailed(
            f"The image could not be made: {words}.", hint="It needs root, a Debian mirror and a package index."
        )


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
