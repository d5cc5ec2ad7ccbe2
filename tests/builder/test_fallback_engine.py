"""The real repo2docker through our engine: with Dockerfiles to the end, with all else up to the network's edge."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder.fallback import FallbackJob
from binderlet.builder.toolchain import Toolchain
from binderlet.config.network import NetworkEnvironment, network_environment
from binderlet.config.schema import BuilderSettings, NetworkSettings
from binderlet.errors import BadRepository, BinderletError, BuildFailed, BuildTimeout, RegistryUnreachable
from binderlet.model import Image
from support.tiny_base import CliStore, TinyBase, TinyBases, docker
from support.workshop import Workshop, make_builder

NOWHERE = network_environment(
    NetworkSettings(http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9", no_proxy="localhost"),
    {},
    lambda _path: None,
)
"""A network in which nothing answers, on any machine."""
RECORDER = """#!/bin/bash
# Writes down how it was called and with which files, and lets the image exist.
here={folder}
printf '%s\\n' "$@" >> $here/calls
context="${{@: -1}}"
if [ "$1" = build ]; then cp -a "$context" $here/context; touch $here/built; {build}; fi
if [ "$1" = image ]; then [ -e $here/built ] && echo '[{{"RepoTags": [], "Config": {{}}}}]' || exit 1; fi
"""

PACKAGES = b"https://conda.anaconda.org/conda-forge/noarch/x-1.conda\n"


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A folder with a pretended ``docker`` in it."""
    folder = tmp_path / "recorder"
    folder.mkdir()
    (folder / "docker").write_text(RECORDER.format(folder=folder, build="echo '#5 0.1 pretended'"))
    (folder / "docker").chmod(0o755)
    return folder


def recorded(workshop: Workshop, folder: Path, settings: BuilderSettings | None = None) -> Workshop:
    """Give a workshop whose build tool only writes down what it should do."""
    tools = Toolchain("docker", str(folder / "docker"), "20.10.24", "")
    store = RecordedStore(folder / "built")
    builder = make_builder(
        settings or BuilderSettings(), tools, TinyBases(TinyBase("base", "sha256:0")), store, folder / "state"
    )
    builder._network = NOWHERE
    builder._repo2docker._network = NOWHERE.clone_environment()
    return replace(workshop, builder=builder)


class RecordedStore(CliStore):
    """An image store that has any image once something was built."""

    def __init__(self, mark: Path) -> None:
        super().__init__("false")
        self._mark = mark

    async def find(self, name: str) -> Image | None:
        """Give the image."""
        return Image(name, "sha256:1") if await asyncio.to_thread(self._mark.exists) else None


@pytest.fixture
def image(tools: Toolchain) -> Iterator[str]:
    """A name for an image, which is removed afterwards."""
    name = f"binderlet-test/r2d-{secrets.token_hex(6)}:1"
    yield name
    docker(tools.program, "image", "rm", "--force", name, check=False)


@pytest.mark.docker
@pytest.mark.timeout(60)
def test_dockerfile_for_real(tools: Toolchain, tiny_base: TinyBase, tmp_path: Path, image: str) -> None:
    """repo2docker builds a Dockerfile through our engine, with our labels and the tool of this machine."""
    (tmp_path / "Dockerfile").write_text(f"FROM {tiny_base.name}\nARG NB_USER\nRUN echo user is $NB_USER\nCOPY . .\n")
    job = FallbackJob(tmp_path, tmp_path, image, {"repo2docker.ref": "abc", "binderlet.image": "repo2docker"})
    job.write()
    environment = os.environ | job.environment(tools, {})
    done = subprocess.run(job.command(), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "user is jovyan" in done.stderr
    labels = docker(tools.program, "image", "inspect", "--format", "{{json .Config.Labels}}", image)
    assert '"repo2docker.ref":"abc"' in labels
    assert '"repo2docker.version"' in labels
    again = subprocess.run(job.command(), env=environment, capture_output=True, text=True, check=False)
    assert "Reusing existing image" in again.stderr


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_nix_with_recorded_tool(workshop: Workshop, recorder: Path) -> None:
    """What repo2docker renders reaches the tool: its Dockerfile, the repository's files, user, labels and name."""
    (workshop.checkout / "default.nix").write_text("{}")
    (workshop.checkout / "analysis.ipynb").write_text("{}")
    (workshop.checkout / "link").symlink_to("/etc/hostname")
    workshop = recorded(workshop, recorder, BuilderSettings(fallback_base="mirror/buildpack:1"))
    built = await workshop.build()
    assert built.name == workshop.images[-1]
    calls = (recorder / "calls").read_text()
    for words in ("NB_UID=1000", "NB_USER=jovyan", built.name):
        assert words in calls
    dockerfile = (recorder / "context" / "Dockerfile").read_text()
    assert "FROM mirror/buildpack:1" in dockerfile
    assert f'repo2docker.ref="{built.name.partition(":")[2]}"' in dockerfile
    assert (recorder / "context" / "src" / "analysis.ipynb").exists()
    assert (recorder / "context" / "src" / "link").is_symlink()
    text = await workshop.read()
    assert "default.nix: this repository is built by repo2docker (Nix)." in text
    assert "pretended" in text


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_an_old_python_behind_a_mirror(workshop: Workshop, recorder: Path) -> None:
    """Every step finds the package index and the certificates, and nothing of the index is in the Dockerfile."""
    (workshop.checkout / "runtime.txt").write_text("python-3.7")
    (workshop.checkout / "requirements.txt").write_text("numpy\n")
    (recorder / "ca.pem").write_text("certificates")
    workshop = recorded(workshop, recorder, BuilderSettings(conda_channels=["ours", "conda-forge"]))
    index = "https://me:geheim@index.test/simple"
    workshop.builder._network = replace(
        NOWHERE, index_url=index, ca_bundle=recorder / "ca.pem", conda_mirror="https://conda.test/c"
    )
    await workshop.build()
    dockerfile = (recorder / "context" / "Dockerfile").read_text()
    steps = [line for line in dockerfile.splitlines() if line.startswith("RUN ")]
    assert len(steps) > 5
    assert all("id=binderlet-pip,target=/run/binderlet/pip.conf" in step for step in steps)
    assert "ARG PIP_CONFIG_FILE=" in dockerfile
    assert "environment-2epy-2d3-2e7" in dockerfile
    assert 'ARG MAMBA_CHANNEL_ALIAS="https://conda.test/c"' in dockerfile
    conda = [path.read_text() for path in (recorder / "context" / "build_script_files").iterdir()]
    assert sum("https://conda.test/c/conda-forge/" in text for text in conda) == 2  # micromamba, packages
    assert any("channels:\n  - ours\n  - conda-forge\n" in text for text in conda)
    assert not any("anaconda.org" in text for text in conda)
    calls = (recorder / "calls").read_text()
    assert "id=binderlet-pip,src=" in calls
    assert f"id=binderlet-ca,src={recorder}/ca.pem" in calls
    assert "geheim" not in dockerfile + calls + await workshop.read()


@pytest.mark.docker
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("files", "host"),
    [
        ({"runtime.txt": "r-4.3-2023-01-01", "install.R": "install.packages('x')"}, "packagemanager.posit.co"),
        ({"DESCRIPTION": "Package: mine\nVersion: 1.0\n"}, "packagemanager.posit.co"),
        ({"Project.toml": ""}, "julialang-s3.julialang.org"),
        ({"binder/JuliaProject.toml": "[deps]\n", "apt.txt": "none!"}, "julialang-s3.julialang.org"),
    ],
)
async def test_up_to_the_networks_edge(workshop: Workshop, recorder: Path, files: dict[str, str], host: str) -> None:
    """R and Julia ask servers before they build; what does not answer is named, with the setting that helps."""
    for name, content in files.items():
        (workshop.checkout / name).parent.mkdir(exist_ok=True)
        (workshop.checkout / name).write_text(content)
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await recorded(workshop, recorder).build()
    assert "network.https_proxy" in caught.value.hint
    assert host in await workshop.read()


@pytest.mark.docker
async def test_switched_off(workshop: Workshop, recorder: Path) -> None:
    """Where the operator wants no fallback, repositories that need it are refused."""
    (workshop.checkout / "default.nix").write_text("{}")
    with pytest.raises(BadRepository, match="builds no Nix environments"):
        await recorded(workshop, recorder, BuilderSettings(fallback=False)).build()


@pytest.mark.docker
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("build", "settings", "error"),
    [
        ("exit 3", BuilderSettings(), BuildFailed),
        ("sleep 60", BuilderSettings(timeout=3), BuildTimeout),
    ],
)
async def test_failures(
    workshop: Workshop, recorder: Path, build: str, settings: BuilderSettings, error: type[BinderletError]
) -> None:
    """A step that fails or takes too long ends the build as any other."""
    (recorder / "docker").write_text(RECORDER.format(folder=recorder, build=build))
    (workshop.checkout / "default.nix").write_text("{}")
    with pytest.raises(error):
        await recorded(workshop, recorder, settings).build()


@pytest.mark.filterwarnings("ignore:pythonjsonlogger")
def test_engine_alone(recorder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive is unpacked for the tool, and gone afterwards; a folder is built where it is."""
    import binderlet.builder.fallback_engine as module  # noqa: PLC0415 - it loads repo2docker, which warns

    tools = Toolchain("docker", str(recorder / "docker"), "", "")
    network = NetworkEnvironment(conda_mirror="https://mirror.test")
    variables = FallbackJob(recorder, recorder, "x", network=network).environment(tools, {})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("Dockerfile"))
        packages = tarfile.TarInfo("build_script_files/packages.lock")
        packages.size = len(PACKAGES)
        archive.addfile(packages, io.BytesIO(PACKAGES))
    buffer.seek(0)
    engine = module.BinderletEngine(parent=None)
    assert engine.container_cli == str(recorder / "docker")
    assert list(engine.build(tag="t:1", fileobj=buffer, buildargs={"A": "1"}, platform="x")) == ["#5 0.1 pretended\n"]
    assert (recorder / "context" / "Dockerfile").exists()
    found = (recorder / "context" / packages.name).read_bytes()
    assert found == b"https://mirror.test/conda-forge/noarch/x-1.conda\n"
    unpacked = (recorder / "calls").read_text().splitlines()[-1]
    assert not Path(unpacked).exists()
    list(engine.build(tag="t:1", path=str(recorder), dockerfile="binder/Dockerfile", labels={"a": "b"}))
    assert f"{recorder}/binder/Dockerfile" in (recorder / "calls").read_text()
    (recorder / "docker").write_text("#!/bin/sh\nexit 4\n")
    with pytest.raises(subprocess.CalledProcessError):
        list(engine.build(tag="t:1", path=str(recorder)))
