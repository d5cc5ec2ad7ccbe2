"""What a session sees of an image that was built from a repository: the same as from repo2docker."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from binderlet.builder.base import BuildRequest
from binderlet.builder.workbench import open_workbench
from binderlet.config import Settings
from binderlet.config.network import network_environment, read_text
from binderlet.config.schema import NetworkSettings
from binderlet.events.buildlog import BuildLog
from support.container import Container
from support.values import COMMIT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
NETWORK = network_environment(NetworkSettings(), os.environ, read_text)
FILES = {
    "binder/requirements.txt": "iniconfig==2.0.0\n",
    "binder/postBuild": '#!/bin/bash\nset -e\nread -t 5 answer && exit 9\npython -c "import iniconfig"\npwd > where\n',
    "binder/start": '#!/bin/bash\nexport FROM_START=yes\nprintf "%s\\n" "$@" > arguments\nexec "$@"\n',
    "analysis.ipynb": "{}",
}
EXPECTED_PATH = [
    "/home/jovyan/.local/bin",
    "/srv/conda/envs/notebook/bin",
    "/srv/conda/bin",
    "/srv/npm/bin",
    "/usr/local/bin",
]


async def build(folder: Path, name: str) -> None:
    """Build the repository on the real base image."""
    checkout = folder / "checkout"
    async with open_workbench(Settings(), NETWORK, folder / "state") as bench:
        await bench.builder.build(BuildRequest(replace(COMMIT), checkout, name), BuildLog(folder / "log"))


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """An image of a repository with everything in it, gone afterwards."""
    name = f"binderlet-test/contract-{secrets.token_hex(6)}:1"
    with tempfile.TemporaryDirectory(prefix="binderlet-contract-") as folder:
        for path, text in FILES.items():
            file = Path(folder) / "checkout" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        asyncio.run(build(Path(folder), name))
    yield name
    form = '{{index .Config.Labels "binderlet.environment"}}'
    key = subprocess.run(
        ["docker", "image", "inspect", "--format", form, name], check=True, capture_output=True, text=True
    )
    environment = f"binderlet/env:{key.stdout.strip()}"
    subprocess.run(["docker", "image", "rm", "--force", name, environment], check=True, capture_output=True)


@pytest.fixture(scope="module")
def configuration(image: str) -> dict[str, Any]:
    """What the engine says of the image."""
    done = subprocess.run(["docker", "image", "inspect", image], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)[0]["Config"]
    return found


@pytest.fixture(scope="module")
def session(image: str) -> Iterator[Container]:
    """A session of it, with the user that sessions have."""
    variables = NETWORK.variables().items()
    options = ["--user=1000:1000", *(f"--env={name}={value}" for name, value in variables)]
    command = ("jupyter-lab", "--ip=0.0.0.0", "--ServerApp.base_url=/user/x/", "--IdentityProvider.token=t")
    with closing(Container(image, *command, options=options)) as container:
        container.get("/user/x/api/status")
        yield container


def test_configuration(configuration: dict[str, Any]) -> None:
    """User, working folder, port, entrypoint and command are in the image itself."""
    assert configuration["User"] == "jovyan"
    assert configuration["WorkingDir"] == "/home/jovyan"
    assert configuration["ExposedPorts"] == {"8888/tcp": {}}
    assert len(configuration["Entrypoint"]) == 1
    assert configuration["Cmd"] == ["jupyter", "notebook", "--ip", "0.0.0.0"]


def test_labels(configuration: dict[str, Any]) -> None:
    """repo2docker's labels say which repository at which commit it is."""
    labels = configuration["Labels"]
    assert labels["repo2docker.repo"] == COMMIT.repo_url
    assert labels["repo2docker.ref"] == COMMIT.sha
    assert labels["repo2docker.version"].startswith("binderlet-")
    assert "iniconfig==2.0.0" in json.loads(labels["binderlet.lock"])["python_packages"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOME", "/home/jovyan"),
        ("USER", "jovyan"),
        ("NB_USER", "jovyan"),
        ("NB_UID", "1000"),
        ("REPO_DIR", "/home/jovyan"),
        ("SHELL", "/bin/bash"),
        ("LANG", "en_US.UTF-8"),
        ("CONDA_DIR", "/srv/conda"),
        ("NB_PYTHON_PREFIX", "/srv/conda/envs/notebook"),
        ("KERNEL_PYTHON_PREFIX", "/srv/conda/envs/notebook"),
        ("PYTHONUNBUFFERED", "1"),
        ("R2D_ENTRYPOINT", "/home/jovyan/binder/start"),
    ],
)
def test_environment(configuration: dict[str, Any], name: str, value: str) -> None:
    """Scripts of repositories read these variables."""
    assert f"{name}={value}" in configuration["Env"]


def test_who_and_where(session: Container) -> None:
    """The session is jovyan, 1000, in the repository's files, which are its own."""
    said = session.inside("bash", "-c", "id -un; id -u; id -g; pwd; stat -c %U analysis.ipynb binder/start where")
    assert said.split() == ["jovyan", "1000", "1000", "/home/jovyan", "jovyan", "jovyan", "jovyan"]


@pytest.mark.parametrize("shell", [["bash", "-c"], ["bash", "-l", "-c"]])
def test_shells(session: Container, shell: list[str]) -> None:
    """Plain and login shells find the user's own programs first, then the environment's, then the system's."""
    folders = session.inside(*shell, "echo $PATH").split(":")
    assert [folder for folder in dict.fromkeys(folders) if folder in EXPECTED_PATH] == EXPECTED_PATH
    assert session.inside(*shell, "type -P python jupyter pip") == "\n".join(
        f"/srv/conda/envs/notebook/bin/{name}" for name in ("python", "jupyter", "pip")
    )


def test_start_gets_the_command(session: Container) -> None:
    """The start script ran first, got the command as its arguments, and what it set is the server's."""
    arguments = session.inside("cat", "arguments").splitlines()
    assert "--ServerApp.base_url=/user/x/" in arguments
    assert "FROM_START=yes" in session.inside("sh", "-c", "tr '\\0' '\\n' < /proc/1/environ")


def test_post_build(session: Container) -> None:
    """The script postBuild ran in the repository's folder, with the environment, and nobody answered its question."""
    assert session.inside("cat", "where") == "/home/jovyan"


def test_kernels(session: Container) -> None:
    """The environment's Python is a kernel."""
    _, body = session.get("/user/x/api/kernelspecs")
    assert body["default"] == "python3"
    assert "python3" in body["kernelspecs"]


def test_pip_installs(session: Container) -> None:
    """A visitor may install more, without a word about permissions."""
    session.inside("bash", "-lc", "pip install --quiet --disable-pip-version-check toolz==1.0.0")
    assert session.inside("python", "-c", "import toolz; print(toolz.__version__)") == "1.0.0"
