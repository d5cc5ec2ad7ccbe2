"""The image of builder pods: Podman and this very binderlet, on the base image; made by the builder's own means."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import binderlet
from binderlet.builder.base_recipe import NETWORK_SECRET, SYSTEM_BUNDLE
from binderlet.builder.cluster.worker import extra_certificates
from binderlet.builder.job import Job, JobSpec
from binderlet.builder.render import exports
from binderlet.builder.toolchain import BuildCommand
from binderlet.builder.workbench import Workbench
from binderlet.config.network import NetworkEnvironment
from binderlet.errors import BuildFailed, MissingProgram
from binderlet.events.buildlog import BuildLog
from binderlet.images.courier import Courier

PACKAGES = (
    "ca-certificates",
    "debian-archive-keyring",
    "libcap2-bin",
    "mmdebstrap",
    "podman",
    "python3",
    "python3-venv",
    "uidmap",
    "bzip2",
    "xz-utils",
)
REPOSITORY = "binderlet/builder-system"
TIMEOUT = 1800.0
LOCK = "requirements.lock"
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")
METADATA = ("METADATA", "entry_points.txt")
"""What programs read of an installed package: repo2docker finds our engine by it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made."""

    image: str
    base: str
    """The base image, which builder pods look for in the registry."""


async def make(bench: Workbench, network: NetworkEnvironment, name: str, log: BuildLog) -> Made:
    """Build the image under a name on this machine's engine, and the base image where it is absent.

    Raises:
        BinderletError: making the base image failed.
        BuildFailed: a step failed; the log has its words.
    """
    base = await bench.bases.ensure(log)
    system = await bench.bases.debian(PACKAGES, REPOSITORY, log)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="binderlet-builder-image-"))
    bundle = SYSTEM_BUNDLE if network.ca_bundle else ""
    try:
        await asyncio.to_thread(_write, folder, network, exports(network.variables(bundle)))
        command = BuildCommand(
            dockerfile=folder / "context" / "Dockerfile",
            context=folder / "context",
            tag=name,
            labels={"binderlet.image": "builder"},
            arguments={"BASE": system},
            secrets={NETWORK_SECRET: folder / "network"},
            has_ignore_file=False,
        )
        await log.flush()
        job = Job(folder / "job")
        tools = bench.tools
        await job.start(
            JobSpec(tools.command_line(command), tools.environment, log.path, timeout=TIMEOUT, progress="output")
        )
        try:
            outcome = await job.wait()
        except asyncio.CancelledError:
            await job.end()
            raise
        if outcome.code:
            last = outcome.tail.strip().splitlines()[-1:]
            raise BuildFailed(f"The builder image could not be made: {''.join(last) or outcome.reason}.")
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return Made(name, base.name)


async def push(made: Made, courier: Courier, log: BuildLog) -> list[str]:
    """Push the image, and the base image to where builder pods look for it; gives what they are called there.

    Raises:
        BinderletError: the registry does not take them.
    """
    pushed = []
    for name in (made.base, made.image):
        log.write(f"Pushing {name}...")
        pushed.append(await courier.push(name))
    return pushed


def lock_file() -> Path:
    """Give the file with the exact packages that binderlet needs: beside the installed package, or in its source tree.

    Raises:
        MissingProgram: there is none.
    """
    here = Path(binderlet.__file__).parent
    found = next((path for folder in (here, here.parents[1]) if (path := folder / LOCK).exists()), None)
    if found is None:
        raise MissingProgram(
            f"This binderlet came without its {LOCK}.", hint="Install a released wheel, or its source."
        )
    return found


def _write(folder: Path, network: NetworkEnvironment, secret: str) -> None:
    """Write the build context and, beside it, the secret."""
    context, ours = folder / "context", distribution("binderlet")
    site = context / "site"
    shutil.copytree(Path(binderlet.__file__).parent, site / "binderlet", ignore=IGNORED)
    metadata = site / f"binderlet-{ours.version}.dist-info"
    metadata.mkdir()
    for name in METADATA:
        (metadata / name).write_text(ours.read_text(name) or "", encoding="utf-8")
    resources = files("binderlet.deploy") / "builder_image_files"
    (context / "Dockerfile").write_text((resources / "Dockerfile").read_text("utf-8"), encoding="utf-8")
    (context / "etc").mkdir()
    for entry in (resources / "etc").iterdir():
        (context / "etc" / entry.name).write_text(entry.read_text("utf-8"), encoding="utf-8")
    shutil.copyfile(lock_file(), context / LOCK)
    (context / "certificates").mkdir()
    for number, pem in enumerate(extra_certificates(network)):
        (context / "certificates" / f"binderlet-{number}.crt").write_text(pem, encoding="utf-8")
    (folder / "job").mkdir()
    (folder / "network").touch(mode=0o600)
    (folder / "network").write_text(secret, encoding="utf-8")
