"""How repo2docker is started, and what its failures mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.builder.fallback import FallbackJob, diagnose_fallback, toolchain
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.toolchain import Toolchain
from binderlet.errors import BadRepository, BinderletError, BuildFailed, DiskFull, MissingProgram, RegistryUnreachable

PLAN = Plan(Kind.REPO2DOCKER, language="R")


def test_command(tmp_path: Path) -> None:
    """It gets a folder, our user, our labels and our name, and it neither runs nor removes anything."""
    job = FallbackJob(tmp_path, Path("/checkout"), "name:tag", {"repo2docker.ref": "1234", "b": "x y"})
    command = job.command()
    assert command[1:4] == ["-P", "-m", "repo2docker"]
    assert command[-1] == "/checkout"
    text = " ".join(command)
    for words in (
        f"--config {tmp_path}/repo2docker_config.py",
        "--engine binderlet --json-logs --no-run --no-clean",
        "--user-id 1000 --user-name jovyan --image-name name:tag",
        "--label b=x y --label repo2docker.ref=1234",
    ):
        assert words in text


def test_configuration(tmp_path: Path) -> None:
    """Proxies and the operator's base image are written as literals, whatever is in them."""
    FallbackJob(tmp_path, tmp_path, "x", arguments={"http_proxy": "http://a'b"}, base_image="base:1").write()
    assert (tmp_path / "repo2docker_config.py").read_text() == (
        "c.Repo2Docker.extra_build_args = {'http_proxy': \"http://a'b\"}\nc.Repo2Docker.base_image = 'base:1'\n"
    )
    assert "base_image" not in FallbackJob(tmp_path, tmp_path, "x").config


@pytest.mark.parametrize(
    "tools",
    [
        Toolchain("docker", "/usr/bin/docker", "", "/run/docker.sock"),
        Toolchain("buildx", "/opt/docker", "", ""),
        Toolchain("podman", "/usr/bin/podman", "", "/run/podman.sock"),
    ],
)
def test_tool_goes_through_the_environment(tools: Toolchain) -> None:
    """The engine inside repo2docker finds the tool that was chosen outside."""
    variables = FallbackJob(Path("/j"), Path("/c"), "x").environment(tools, {"HTTPS_PROXY": "http://p"})
    assert variables["HTTPS_PROXY"] == "http://p"
    assert toolchain(variables) == tools


@pytest.mark.parametrize(
    ("tail", "kind", "words", "hint"),
    [
        (
            "Error during build: HTTPSConnectionPool(host='packagemanager.posit.co', port=443): Max retries exceeded",
            RegistryUnreachable,
            "packagemanager.posit.co cannot be reached",
            "network.https_proxy",
        ),
        (
            'Head "https://registry-1.docker.io/v2/x/manifests/24": lookup registry-1.docker.io: no such host',
            RegistryUnreachable,
            "registry-1.docker.io cannot be reached",
            "builder.fallback_base",
        ),
        (
            "[ 4/19] RUN wget micromamba\ntar: This does not look like a tar archive\nexit code: 2",
            RegistryUnreachable,
            "anaconda.org cannot be reached from here, and repo2docker needs it for R",
            "network.conda_mirror",
        ),
        ("tar: This does not look like a tar archive", BuildFailed, "exit code 1", "log"),
        (
            "Error during build: R version 9.9 is not supported.\n",
            BadRepository,
            "repo2docker cannot build this repository: R version 9.9 is not supported.",
            "Mend",
        ),
        ("Error during build: Command '['docker']' returned 1\n", BuildFailed, "exit code 1", "log"),
        ("write /x: no space left on device", DiskFull, "full", "disk"),
        ("/usr/bin/python3: No module named repo2docker", MissingProgram, "not installed", "builder.fallback"),
        ("Container engine 'binderlet' not found.", MissingProgram, "not installed", "builder.fallback"),
        ("make: *** [all] Error 1", BuildFailed, "exit code 1", "log"),
    ],
)
def test_failures(tail: str, kind: type[BinderletError], words: str, hint: str) -> None:
    """Each failure is one sentence, with the setting that helps."""
    error = diagnose_fallback(tail, PLAN, 1)
    assert type(error) is kind
    assert words in error.message
    assert hint in error.hint
