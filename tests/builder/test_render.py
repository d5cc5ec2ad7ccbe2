"""The Dockerfiles."""

from __future__ import annotations

import json
from dataclasses import replace

from binderlet.builder import render
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.stack import Stack

MOUNTS = (
    "--mount=type=secret,id=binderlet-environment,target=/run/binderlet/environment,mode=0444"
    " --mount=type=secret,id=binderlet-ca,target=/run/binderlet/ca.pem,mode=0444"
)
START = "set -eu; if [ -s /run/binderlet/environment ]; then . /run/binderlet/environment; fi; "
PYTHON = "/srv/conda/envs/notebook/bin/python"
UV = f"uv pip install --python {PYTHON} --link-mode copy"
UV_MOUNT = "--mount=type=secret,id=binderlet-uv,target=/run/binderlet/uv.toml,mode=0444"
UV_SETTINGS = (
    "if [ -s /run/binderlet/uv.toml ]; then export UV_CONFIG_FILE=/run/binderlet/uv.toml;"
    " unset UV_DEFAULT_INDEX UV_INDEX; fi;"
)
RESOLVED_MOUNT = "--mount=type=secret,id=binderlet-resolved,target=/run/binderlet/resolved.json,mode=0444"
INSTALL = f"{PYTHON} -I -S /tmp/install_program.py /run/binderlet/resolved.json /var/cache/binderlet-uv"
PLAN = Plan(Kind.PYTHON, python="3.11", apt=("curl", "g++"), requirements_file="binder/requirements.txt")


def step(line: str) -> tuple[str, str]:
    """Give a RUN step's flags and its script."""
    flags, separator, script = line.removeprefix("RUN ").partition(' ["/bin/bash"')
    assert separator
    return flags, json.loads('["/bin/bash"' + script)[2]


def test_empty_environment() -> None:
    """An environment without packages adds nothing but what the image says of itself, and runs nothing."""
    assert render.environment("base:1", Plan(Kind.PYTHON), "0123", wheels_only=True) == (
        "FROM base:1\n"
        "USER jovyan\n"
        'ENTRYPOINT ["/usr/local/bin/binderlet-entrypoint"]\n'
        'CMD ["jupyter", "notebook", "--ip", "0.0.0.0"]\n'
        "EXPOSE 8888\n"
        "LABEL binderlet.environment=0123 binderlet.image=environment\n"
    )


def test_environment_on_another_base() -> None:
    """A base of the operator's may start anywhere; sessions start in the repository."""
    assert "WORKDIR /home/jovyan\n" in render.environment("b:1", Plan(Kind.PYTHON), "k", wheels_only=True, workdir=True)


def test_wheels_only_environment() -> None:
    """Debian's packages come first, as root; then wheels, as the user, with the shared cache."""
    lines = render.environment("base:1", PLAN, "k", wheels_only=True).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["FROM", "USER", "RUN", "USER", "RUN"]
    assert (lines[1], lines[3]) == ("USER root", "USER jovyan")
    flags, script = step(lines[2])
    assert "id=binderlet-apt,target=/var/cache/apt,sharing=locked" in flags
    assert script.endswith(" install --yes --no-install-recommends curl g++")
    flags, script = step(lines[4])
    assert flags == (
        "--mount=type=cache,id=binderlet-uv-3.11,target=/var/cache/binderlet-uv,uid=1000,gid=1000"
        f" --mount=type=bind,source=requirements,target=/tmp/requirements {UV_MOUNT}"
        " --mount=type=bind,source=install_program.py,target=/tmp/install_program.py"
        f" {RESOLVED_MOUNT} {MOUNTS}"
    )
    assert script == (
        f"{START}export HOME=/home/jovyan; {UV_SETTINGS} cd /tmp/requirements;"
        f" if ! {{ [ -s /run/binderlet/resolved.json ] && {INSTALL} /tmp/binderlet-new; }};"
        f" then {UV} --cache-dir /var/cache/binderlet-uv --no-build -r binder/requirements.txt; fi;"
        " rm -rf /tmp/binderlet-new & true; wait"
    )


def test_fetching_wheels() -> None:
    """The cache is all that changes; what is made is next to nothing."""
    lines = render.fetch("base:1", "3.11", "n0").splitlines()
    assert lines[:2] == ["FROM base:1 AS fetch", "USER jovyan"]
    assert lines[3:] == ["FROM scratch", "COPY --from=fetch /tmp/fetched /"]
    flags, script = step(lines[2])
    assert RESOLVED_MOUNT in flags
    assert script == f"{START}export HOME=/home/jovyan; : n0; {UV_SETTINGS[:-1]}; {INSTALL}; touch /tmp/fetched"


def test_lock_of_debian_packages() -> None:
    """An environment of Debian packages alone has a lock, too."""
    lines = render.environment("b:1", Plan(Kind.PYTHON, apt=("curl",)), "k", wheels_only=True, lock="{}").splitlines()
    assert "lock_program.py" in lines[4]


def test_environment_from_source() -> None:
    """Where packages may run code of their own, no cache that others use is mounted."""
    last = render.environment("base:1", PLAN, "k", wheels_only=False).splitlines()[4]
    flags, script = step(last)
    assert "type=cache" not in flags
    assert script.endswith(
        f"{UV} --no-cache -r binder/requirements.txt ||"
        " { echo 'uv could not install these packages; trying pip.';"
        f" {PYTHON} -m pip install --no-cache-dir --disable-pip-version-check -r binder/requirements.txt; }}"
    )


def test_environment_without_cache_mounts() -> None:
    """A tool that cannot keep caches apart gets none."""
    text = render.environment("base:1", PLAN, "k", wheels_only=True, cache_mounts=False)
    assert "type=cache" not in text
    assert "--no-cache --no-build" in text


def test_content_runs_nothing() -> None:
    """Content alone is copied; no container is started for it."""
    plan = Plan(Kind.PYTHON, start="binder/start", executable=frozenset({"binder/start"}))
    assert render.content("env:1", plan) == (
        "FROM env:1\nCOPY --chown=1000:1000 . /home/jovyan/\nENV R2D_ENTRYPOINT=/home/jovyan/binder/start\n"
    )


def test_content_with_scripts() -> None:
    """Scripts become executable, local packages are installed, then postBuild runs."""
    plan = Plan(Kind.PYTHON, post_build="binder/postBuild", start="binder/start", local=("-e", ".[a b]"))
    lines = render.content("env:1", plan).splitlines()
    assert lines[2] == 'COPY --chown=1000:1000 --chmod=0755 ["binder/postBuild", "/home/jovyan/binder/postBuild"]'
    assert lines[3] == 'COPY --chown=1000:1000 --chmod=0755 ["binder/start", "/home/jovyan/binder/start"]'
    flags, script = step(lines[4])
    own = "--mount=type=cache,id=binderlet-uv-own,target=/var/cache/binderlet-uv,uid=1000,gid=1000"
    assert flags == f"{own} {MOUNTS}"
    assert f"{UV} --cache-dir /var/cache/binderlet-uv -e '.[a b]' || {{ echo" in script
    assert step(lines[5]) == (MOUNTS, f"{START}export HOME=/home/jovyan; ./binder/postBuild")


def test_content_without_cache_mounts() -> None:
    """Where caches cannot be kept apart, local packages are installed without any."""
    lines = render.content("env:1", Plan(Kind.PYTHON, local=(".",)), cache_mounts=False).splitlines()
    flags, script = step(lines[2])
    assert flags == MOUNTS
    assert f"{UV} --no-cache . || {{ echo" in script


def test_compiling_the_cache() -> None:
    """The step that compiles has the shared cache, and its result is a file, not an image."""
    lines = render.bytecode("base:1", "3.11", "compile_wheels.py", 300, "abc").splitlines()
    flags, script = step(lines[2])
    assert "id=binderlet-uv-3.11,target=/var/cache/binderlet-uv," in flags
    assert "secret" not in flags
    assert "ulimit -v" in script
    site = "/srv/conda/envs/notebook/lib/python3.11/site-packages"
    command = f"-I -S /tmp/compile_wheels.py /var/cache/binderlet-uv {site} 300 > /tmp/compiled"
    assert script.endswith(command)
    assert lines[3:] == ["FROM scratch", "COPY --from=compile /tmp/compiled /"]


def test_content_of_notebooks_alone() -> None:
    """The commonest image of all is one COPY."""
    assert render.content("env:1", Plan(Kind.PYTHON)) == "FROM env:1\nCOPY --chown=1000:1000 . /home/jovyan/\n"


def test_ignore_file_is_never_empty() -> None:
    """An empty ignore file would not count."""
    assert render.ignore_file("").startswith("#")
    assert render.ignore_file("data\n*.bin").endswith("\ndata\n*.bin\n")


def test_exports() -> None:
    """Values with anything in them come through the shell as they are."""
    assert render.exports({"B": "it's $x", "A": "1"}) == "export A=1\nexport B='it'\"'\"'s $x'\n"


def test_both_at_once() -> None:
    """Two stages; the cache that all share is mounted where wheels are installed, and never for postBuild."""
    plan = replace(PLAN, requirements={"binder/requirements.txt": "x", "pins.txt": "y"}, post_build="postBuild")
    lines = render.both("base:1", plan, "k", lock='{"environment": "k"}', workdir=True, stack=Stack()).splitlines()
    assert lines[0] == "FROM base:1 AS environment"
    assert "WORKDIR /home/jovyan" in lines
    second = lines.index("FROM environment")
    flags, script = step(lines[4])
    files = render.file_secrets(plan)
    for path, name in files.items():
        assert f"--mount=type=secret,id={name},target=/tmp/requirements/{path},mode=0444" in flags
    assert "id=lock_program.py,target=/tmp/lock_program.py" in flags
    assert "type=bind" not in flags
    assert "--no-build" in script
    assert '{"environment": "k"}' in script, "what the secrets hold counts for the build tool's cache by its name"
    steps = [step(line)[0] for line in lines[second:] if line.startswith("RUN ")]
    assert len(steps) == 1
    assert "type=cache" not in steps[0]
    assert "binderlet-uv" not in steps[0]


def test_a_stack() -> None:
    """Each package has a step of its own, word for word the same in every environment, after Debian's packages."""
    stack = Stack(("numpy==2.1", "pandas==2"), "index")
    plan = replace(PLAN, requirements={"binder/requirements.txt": "x"})
    shared = render.stack("base:1", plan, stack, "stack-1").splitlines()
    lines = render.both("base:1", plan, "k", lock="{}", workdir=False, stack=stack).splitlines()
    assert lines[1:6] == shared[1:6]
    flags, script = step(lines[4])
    assert "--mount=type=cache,id=binderlet-uv-3.11," in flags
    assert script.endswith(" --no-build --no-deps numpy==2.1")
    assert ": index; " in script, "the same version from another index is another package"
    assert shared[-1] == "LABEL binderlet.environment=stack-1 binderlet.image=environment"
    other = render.both("base:1", replace(plan, requirements={}), "l", lock="{}", workdir=False, stack=stack)
    assert other.splitlines()[1:6] == lines[1:6]
