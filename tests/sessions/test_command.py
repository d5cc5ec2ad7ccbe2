"""What runs in a session: arguments, environment, and the choice of the server, tried in a real shell."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.config.schema import CullSettings, SessionSettings, Settings, StandbySettings
from binderlet.model import Limits
from binderlet.sessions.command import FAST_LAUNCHER, jupyter_command, origin_options, session_spec, standby_key
from binderlet.sessions.order import SessionOrder
from support.values import COMMIT, IMAGE, SHA, SPEC

ORDER = SessionOrder("launch-1", SPEC, COMMIT, IMAGE.name, "http://binder.test/")


def test_a_session_has_all_that_an_engine_needs() -> None:
    """The spec carries the order, the limits and new secrets."""
    settings = Settings(session=SessionSettings(memory=1024**3, cpus=0.5, pids=99))
    spec = session_spec(ORDER, settings, now=1000.0)
    assert spec.id.startswith("owner-repo-")
    assert (spec.image, spec.launch_id, spec.provider, spec.spec) == (IMAGE.name, "launch-1", "gh", "owner/repo/HEAD")
    assert (spec.repo_url, spec.created_at, spec.port) == (COMMIT.repo_url, 1000.0, 8888)
    assert spec.limits == Limits(memory=1024**3, cpus=0.5, pids=99)
    assert spec.token != session_spec(ORDER, settings, now=1000.0).token


def test_a_standby_has_what_its_launch_will_want() -> None:
    """Its key is that of launches that differ in nothing that matters; it waits longer before it ends itself."""
    settings = Settings(cull=CullSettings(max_age=100), standby=StandbySettings(max_age=50))
    key = standby_key(ORDER, settings)
    spec = session_spec(ORDER, settings, now=1000.0, standby=key)
    assert spec.standby == key
    assert "--ServerApp.shutdown_no_activity_timeout=150" in spec.command
    assert standby_key(replace(ORDER, launch_id="launch-2", client="192.0.2.1"), settings) == key


@pytest.mark.parametrize(
    "other",
    [
        replace(ORDER, host="http://other.test/"),
        replace(ORDER, image_id="sha256:2"),
        replace(ORDER, commit=replace(COMMIT, repo_url="https://github.test/owner/other")),
        replace(ORDER, spec=replace(SPEC, spec="owner/repo/main")),
    ],
)
def test_what_a_session_cannot_change_is_in_the_key(other: SessionOrder) -> None:
    """A launch that differs in it adopts none."""
    assert standby_key(other, Settings()) != standby_key(ORDER, Settings())


def test_settings_and_environment_are_in_the_key() -> None:
    """After they changed, older standbys are of no use."""
    key = standby_key(ORDER, Settings())
    assert standby_key(ORDER, Settings(session=SessionSettings(memory=1024**3))) != key
    assert standby_key(ORDER, Settings(), {"https_proxy": "http://proxy"}) != key


def test_the_environment_is_binderhubs() -> None:
    """A session finds where it comes from under BinderHub's names, and nothing of JupyterHub's but its limits."""
    settings = Settings(session=SessionSettings(memory=1024**3, cpus=0.5, environment={"EXTRA": "1"}))
    spec = session_spec(ORDER, settings, now=1000.0, environment={"https_proxy": "http://proxy"})
    assert spec.environment == {
        "https_proxy": "http://proxy",
        "EXTRA": "1",
        "MEM_LIMIT": str(1024**3),
        "CPU_LIMIT": "0.5",
        "BINDER_LAUNCH_HOST": "http://binder.test/",
        "BINDER_REPO_URL": COMMIT.repo_url,
        "BINDER_REF_URL": COMMIT.ref_url,
        "BINDER_REQUEST": "v2/gh/owner/repo/HEAD",
        "BINDER_PERSISTENT_REQUEST": f"v2/gh/owner/repo/{SHA}",
        "JUPYTER_TOKEN": spec.token,
    }


def test_the_visitors_address_is_told_where_it_is_known() -> None:
    """As with BinderHub, and only if the order has it."""
    spec = session_spec(replace(ORDER, client="192.0.2.7"), Settings(), now=0.0)
    assert spec.environment["BINDER_CLIENT_IP"] == "192.0.2.7"


def test_no_setting_can_replace_a_sessions_token() -> None:
    """An operator's environment comes before what makes a session safe."""
    settings = Settings(session=SessionSettings(environment={"JUPYTER_TOKEN": "known to all"}))
    spec = session_spec(ORDER, settings, now=0.0)
    assert spec.environment["JUPYTER_TOKEN"] == spec.token


def test_the_token_is_not_in_the_command() -> None:
    """Whoever may run ps on the machine does not see it."""
    spec = session_spec(ORDER, Settings(), now=0.0)
    assert not any(spec.token in word for word in spec.command)


def test_the_command_serves_below_the_sessions_path_and_culls_inside() -> None:
    """The server takes its path, port and idle time from us."""
    arguments = jupyter_command("owner-repo-x", Settings(cull=CullSettings(max_age=90)))[4:]
    assert arguments == (
        "--ServerApp.ip=0.0.0.0",
        "--ServerApp.port=8888",
        "--ServerApp.port_retries=0",
        "--ServerApp.base_url=/user/owner-repo-x/",
        "--ServerApp.open_browser=False",
        "--ServerApp.allow_remote_access=True",
        "--ServerApp.trust_xheaders=True",
        "--ServerApp.shutdown_no_activity_timeout=90",
        "--ServerApp.allow_origin=*",
        "--MappingKernelManager.cull_idle_timeout=90",
        "--MappingKernelManager.cull_interval=60",
        "--MappingKernelManager.cull_connected=True",
    )


@pytest.mark.parametrize(
    ("allowed", "options"),
    [
        ("", {}),
        ("  ", {}),
        ("*", {"allow_origin": "*"}),
        ("https://a.test", {"allow_origin": "https://a.test"}),
        ("https://a.test, https://b.test", {"allow_origin_pat": r"^(https://a\.test|https://b\.test)$"}),
    ],
)
def test_origins_may_be_none_any_one_or_several(allowed: str, options: dict[str, str]) -> None:
    """Jupyter has one option for one origin and another for several."""
    assert origin_options(allowed) == options


def run(command: tuple[str, ...], folder: Path, programs: list[str], **environment: str) -> tuple[list[str], int]:
    """Run a session's command where only these programs exist, and give what was run with which arguments."""
    folder.mkdir(exist_ok=True)
    for program in programs:
        path = folder / program
        path.write_text('#!/bin/sh\necho "$0"\nfor one in "$@"; do echo "$one"; done\n')
        path.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", *command[1:]],
        env={"PATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.removeprefix(f"{folder}/") for line in (done.stdout + done.stderr).splitlines()], done.returncode


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        (["jupyter-lab", "jupyter-notebook", "jupyter-server"], "jupyter-lab"),
        (["jupyter-notebook", "jupyter-server"], "jupyter-notebook"),
        (["jupyter-server"], "jupyter-server"),
    ],
)
def test_any_image_with_a_jupyter_server_works(tmp_path: Path, programs: list[str], chosen: str) -> None:
    """JupyterLab is taken where there is one, and every argument is given under its old name, too."""
    command = jupyter_command("a b'\"$(x)-x", Settings())
    lines, code = run(command, tmp_path / "bin", programs)
    given = command[4:]
    old = [word.replace("--ServerApp", "--NotebookApp") for word in given if word.startswith("--ServerApp")]
    assert lines == [chosen, *given, *old]
    assert code == 0


def test_an_image_without_jupyter_says_what_is_missing(tmp_path: Path) -> None:
    """The session ends at once, with a sentence for its author in the log."""
    lines, code = run(jupyter_command("x", Settings()), tmp_path / "bin", [])
    assert lines == ["There is no Jupyter server on PATH in this image. Install jupyterlab or notebook in it."]
    assert code == 127


def test_our_own_image_starts_its_server_the_fast_way(tmp_path: Path) -> None:
    """Where the base image's launcher is, and JupyterLab is that image's own, the launcher runs without old names."""
    launcher = tmp_path / "lab.py"
    launcher.touch()
    command = [word.replace(FAST_LAUNCHER, str(launcher)) for word in jupyter_command("x", Settings())]
    folder = tmp_path / "bin"
    lines, _ = run(tuple(command), folder, ["jupyter-lab", "python"], NB_PYTHON_PREFIX=str(tmp_path))
    assert lines == ["python", str(launcher), *command[4:]]
    other = tmp_path / "other"
    other.mkdir()
    path = os.pathsep.join([str(other), str(folder)])
    lines, _ = run(tuple(command), other, ["jupyter-lab"], NB_PYTHON_PREFIX=str(tmp_path), PATH=path)
    assert lines[0] == "jupyter-lab"
