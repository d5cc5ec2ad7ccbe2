"""What is in the base image that the default settings make, and how its server behaves."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from binderlet.builder.base_image import BaseImage, BaseImages
from binderlet.builder.toolchain import choose_toolchain
from binderlet.clients.docker import open_docker
from binderlet.config.network import network_environment, read_text
from binderlet.config.schema import BuilderSettings, EngineSettings, NetworkSettings
from binderlet.events.buildlog import BuildLog
from support.container import Container

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
SERVER = ("jupyter-lab", "--ip=0.0.0.0", "--ServerApp.base_url=/user/x/", "--IdentityProvider.token=t")


def _launcher() -> tuple[str, ...]:
    return ("/srv/conda/envs/notebook/bin/python", "/usr/local/lib/binderlet/lab.py", *SERVER[1:])


def _network_options() -> list[str]:
    variables = network_environment(NetworkSettings(), os.environ, read_text).variables()
    return [f"--env={name}={value}" for name, value in variables.items()]


@pytest.fixture(scope="session")
def real() -> BaseImage:
    """Make the base image of the default settings where it is absent."""

    async def make(folder: Path) -> BaseImage:
        network = network_environment(NetworkSettings(), os.environ, read_text)
        async with await open_docker(EngineSettings()) as docker:
            toolchain = await choose_toolchain(socket=docker.socket)
            bases = BaseImages(docker, BuilderSettings(), network, toolchain, folder)
            return await bases.ensure(BuildLog(folder / "log"))

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(make(Path(folder)))


@pytest.fixture(scope="session")
def lab(real: BaseImage) -> Iterator[Container]:
    """Run JupyterLab in the base image."""
    with closing(Container(real.name, *SERVER)) as container:
        container.get("/user/x/api/status")  # it has started
        yield container


@pytest.mark.parametrize("path", ["lab", "tree", "api/status", "api/kernelspecs", "api/contents", "lsp/status"])
def test_answers(lab: Container, path: str) -> None:
    """JupyterLab, the notebook's pages and the server's interfaces answer."""
    assert lab.get(f"/user/x/{path}")[0] == 200


def test_settings_hold(lab: Container) -> None:
    """The extension manager only shows what there is: a session is thrown away."""
    assert "Extension Manager is 'readonly'" in lab.logs()


def test_nothing_goes_wrong_at_the_start(lab: Container) -> None:
    """Every extension is linked and loaded, also the one through which those of the classic notebook come."""
    said = lab.logs()
    assert "Traceback" not in said
    assert "notebook_shim | extension was successfully linked" in said


def test_kernels_and_terminals_start(lab: Container) -> None:
    """A kernel and a terminal can be started, and the kernel becomes idle or is starting."""
    status, kernel = lab.get("/user/x/api/kernels", "POST", b"{}")
    assert (status, kernel["name"]) == (201, "python3")
    assert lab.get("/user/x/api/terminals", "POST", b"{}")[0] == 200
    assert "ipykernel_launcher" in lab.inside("ps", "-ef")


def test_server_runs_through_the_quick_launcher(lab: Container) -> None:
    """The server is the container's first process, started with the modules of one file."""
    command = lab.inside("cat", "/proc/1/cmdline")
    assert "/usr/local/lib/binderlet/lab.py" in command
    opened = lab.inside("sh", "-c", "ls -l /proc/1/fd")
    assert "/share/binderlet/modules" in opened


def test_changed_modules_are_not_taken_from_the_file(real: BaseImage) -> None:
    """A package that a repository patches in place or replaces is used as it is then."""
    patch = "cd $NB_PYTHON_PREFIX/lib/python3*/site-packages; echo 'print(\"patched\", flush=True)' >> tornado/web.py"
    with closing(Container(real.name, "bash", "-c", f'{patch}; exec "$0" "$@"', *_launcher())) as container:
        assert container.get("/user/x/api/status")[0] == 200
        assert "patched" in container.logs()


def test_modules_on_the_pythonpath_come_first(real: BaseImage) -> None:
    """With a PYTHONPATH the file is not used, for there may be modules of the same names."""
    options = ["--env=PYTHONPATH=/tmp"]
    with closing(Container(real.name, *SERVER, options=options)) as container:
        assert container.get("/user/x/api/status")[0] == 200
        assert "/share/binderlet/modules" not in container.opened()


def test_packages_that_a_user_changes_work(real: BaseImage) -> None:
    """The server starts after another version of one of its packages has been installed over it."""
    script = 'uv pip install -q --no-deps "jsonschema<4.25" && exec "$0" "$@"'
    options = _network_options()
    with closing(Container(real.name, "bash", "-c", script, *_launcher(), options=options)) as container:
        assert container.get("/user/x/lab")[0] == 200
        assert "Version: 4.24" in container.inside("uv", "pip", "show", "jsonschema")


def test_signals_reach_the_server(real: BaseImage) -> None:
    """Asked to end, the server ends by itself and at once, with its own exit code."""
    with closing(Container(real.name, *SERVER)) as container:
        container.get("/user/x/api/status")
        started = time.monotonic()
        container.run("stop", "--time=20", container.name)
        assert time.monotonic() - started < 10
        assert container.run("inspect", "--format", "{{.State.ExitCode}}", container.name) == "0"


def test_start_scripts_run_before_the_server(real: BaseImage) -> None:
    """The program in R2D_ENTRYPOINT gets the command, in the environment of the login shell."""
    options = ["--env=R2D_ENTRYPOINT=/usr/bin/env", "--env=FOO=bar"]
    with closing(Container(real.name, "bash", "-c", "echo $FOO; echo $PATH; sleep 20", options=options)) as container:
        deadline = time.monotonic() + 10
        while "srv" not in (said := container.logs()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert said.startswith("bar\n/home/jovyan/.local/bin:")


def test_is_what_repositories_expect(lab: Container) -> None:
    """The user, the folders, the variables, the locale and the programs are those of repo2docker."""
    said = lab.inside(
        "bash",
        "-lc",
        "id -un; id -u; pwd; echo $NB_USER $REPO_DIR; locale charmap; which git less unzip curl uv pip gcc python",
    ).splitlines()
    assert said[:5] == ["jovyan", "1000", "/home/jovyan", "jovyan /home/jovyan", "UTF-8"]
    assert said[-1] == "/srv/conda/envs/notebook/bin/python"
    assert len(said) == 13


def test_users_may_install(lab: Container) -> None:
    """Everything in the environment and the home belongs to the user."""
    found = lab.inside("sh", "-c", "find /srv/conda /home/jovyan ! -user jovyan | head -3")
    assert found == ""


def test_no_secret_is_in_the_image(real: BaseImage) -> None:
    """The image has no cookie secret, by which sessions could sign for each other, and no key of a server."""
    with closing(Container(real.name, "sleep", "60")) as container:
        files = container.inside(
            "sh", "-c", "find / -xdev \\( -name '*cookie_secret*' -o -name 'jpserver*' \\) 2>/dev/null; true"
        )
        assert files == ""


def test_everything_is_compiled(lab: Container) -> None:
    """No session has to compile what is in the image."""
    script = """
import importlib.util, os, sys
root = os.path.join(sys.prefix, "lib")
print(sum(
    not os.path.exists(importlib.util.cache_from_source(os.path.join(folder, name)))
    for folder, _, names in os.walk(root) for name in names if name.endswith(".py")
))
"""
    assert int(lab.inside("/srv/conda/envs/notebook/bin/python", "-c", script)) <= 5
