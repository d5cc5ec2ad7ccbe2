"""Writes the Dockerfiles of the two images that a repository gets (pure).

The *environment* image has Debian and Python packages and is shared by all repositories that ask for the same. The
*content* image adds the repository's files: a commit that changes only these runs no installer at all.

What reaches the network does so with secrets that are mounted for one step: ``ENVIRONMENT_SECRET`` is a shell script
that exports package indexes and the like, ``CA_SECRET`` the certificates to trust. Neither stays in the image.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from binderlet.builder.layout import COMMAND, ENTRYPOINT, HOME, PORT, PREFIX, REPO_DIR, UID, USER
from binderlet.builder.plan import Plan
from binderlet.builder.stack import Stack

ENVIRONMENT_SECRET = "binderlet-environment"  # noqa: S105 - a name, not a secret
CA_SECRET = "binderlet-ca"  # noqa: S105 - a name, not a secret
UV_SECRET = "binderlet-uv"  # noqa: S105 - a name, not a secret
RESOLVED_SECRET = "binderlet-resolved"  # noqa: S105 - a name, not a secret
SECRETS = "/run/binderlet"
CA_BUNDLE = f"{SECRETS}/ca.pem"
"""Where a step finds the certificates."""
SOURCE_ENVIRONMENT = f"if [ -s {SECRETS}/environment ]; then . {SECRETS}/environment; fi"
UV_CONFIGURATION = f"{SECRETS}/uv.toml"
"""Where an installation finds uv's own settings."""
USE_UV_CONFIGURATION = (
    f"if [ -s {UV_CONFIGURATION} ]; then export UV_CONFIG_FILE={UV_CONFIGURATION}; unset UV_DEFAULT_INDEX UV_INDEX; fi"
)
"""Variables would count for more."""
REQUIREMENTS = "requirements"
"""Folder in the environment's build context that holds the requirement files."""
CACHE = "/var/cache/binderlet-uv"  # not below HOME: the mount point stays in the image, owned by root
STEP = "/tmp"  # noqa: S108 - a step's own, in its container
ENVIRONMENT_STAGE = "environment"
LOCK_PROGRAM = "lock_program.py"
INSTALL_PROGRAM = "install_program.py"
RESOLVED = f"{SECRETS}/resolved.json"
"""Where an installation finds what was resolved beforehand, if anything."""
APART = f"{STEP}/binderlet-new"
"""Where it unpacks new wheels, for as long as it takes."""
LOCK = f"{PREFIX}/share/binderlet/lock.json"
"""Where an environment's lock is in the image."""
NETWORK_MOUNTS = (
    f"--mount=type=secret,id={ENVIRONMENT_SECRET},target={SECRETS}/environment,mode=0444 "
    f"--mount=type=secret,id={CA_SECRET},target={CA_BUNDLE},mode=0444"
)
UV_MOUNT = f"--mount=type=secret,id={UV_SECRET},target={UV_CONFIGURATION},mode=0444"
UV = f"uv pip install --python {PREFIX}/bin/python --link-mode copy"
PROGRAM = f"{PREFIX}/bin/python -I -S {STEP}"
"""Runs a program of ours with the environment's Python, without the code that packages have put there."""
PIP = f"{PREFIX}/bin/python -m pip install --no-cache-dir --disable-pip-version-check"
FIRST_CHOICE_FAILED = "uv could not install these packages; trying pip."


def environment(
    base: str,
    plan: Plan,
    key: str,
    *,
    wheels_only: bool,
    cache_mounts: bool = True,
    stages: Sequence[str] = (),
    steps: Sequence[str] = (),
    lock: str = "",
    workdir: bool = False,
    by_secrets: bool = False,
    stack: Stack | None = None,
) -> str:
    """Write the Dockerfile of an environment; its context holds ``requirements/``.

    With ``wheels_only`` no code of any package runs, and only then is the package cache, which other builds
    share, mounted: a ``setup.py`` could put something else into it. ``stages`` come before all else; ``steps``, after
    the Debian packages, replace the base image's Python, which is strangers' code from then on: no cache either.
    ``lock``, JSON, is what the lock says beside the packages. With ``workdir`` the base is somebody else's, which may
    start elsewhere than in the repository. ``by_secrets`` takes the files from secrets instead of the context; a build
    tool's cache does not look into these, but ``lock`` names the environment, and so all that is in them. ``stack``
    has packages that get layers of their own, the same in each environment.
    """
    lines = [*stages, f"FROM {base}"]
    lock_mount = _program(LOCK_PROGRAM, by_secrets=by_secrets)
    lines += [*_debian(plan, cache_mounts=cache_mounts), *steps, f"USER {USER}"]
    lines += _stack(plan, stack) if stack is not None else []
    if plan.requirements_file:
        has_cache = wheels_only and cache_mounts and not steps
        mounts = f"{_files(plan, by_secrets=by_secrets)} {UV_MOUNT}" + (f" {lock_mount}" if lock else "")
        mounts += f" {_resolved(by_secrets=by_secrets)}" if has_cache else ""
        lines.append(_install(plan, lock, mounts, wheels_only=wheels_only, has_cache=has_cache))
    elif lock and (plan.apt or steps):
        lines.append(run_step(f"true{_lock(lock)}", lock_mount))
    lines += [f"WORKDIR {REPO_DIR}"] if workdir else []
    lines += [
        f"ENTRYPOINT {json.dumps([ENTRYPOINT])}",
        f"CMD {json.dumps(COMMAND)}",
        f"EXPOSE {PORT}",
        f"LABEL binderlet.environment={key} binderlet.image=environment",
    ]
    return "\n".join(lines) + "\n"


def stack(base: str, plan: Plan, packages: Stack, key: str) -> str:
    """Write the Dockerfile of the layers that environments share, up to the first that is an environment's own."""
    lines = [f"FROM {base}", *_debian(plan), f"USER {USER}", *_stack(plan, packages)]
    return "\n".join([*lines, f"LABEL binderlet.environment={key} binderlet.image=environment"]) + "\n"


def content(base: str, plan: Plan, *, cache_mounts: bool = True) -> str:
    """Write the Dockerfile of the image that a session runs; its context is the checkout.

    What is installed here runs the repository's own code, so its package cache must be its owner's alone.
    """
    owner = f"{UID}:{UID}"
    lines = [f"FROM {base}", f"COPY --chown={owner} . {REPO_DIR}/"]
    # A COPY is ten times as quick as a RUN, which starts a container.
    lines += [
        f"COPY --chown={owner} --chmod=0755 {json.dumps([path, f'{REPO_DIR}/{path}'])}"
        for path in (plan.post_build, plan.start)
        if path and path not in plan.executable
    ]
    if plan.local:
        arguments = shlex.join(plan.local)
        where = f"--cache-dir {CACHE}" if cache_mounts else "--no-cache"
        script = f"{UV} {where} {arguments} || {{ echo {shlex.quote(FIRST_CHOICE_FAILED)}; {PIP} {arguments}; }}"
        lines.append(run_step(script, _cache("binderlet-uv-own") if cache_mounts else ""))
    if plan.post_build:
        lines.append(run_step(f"./{plan.post_build}"))
    if plan.start:
        lines.append(f"ENV R2D_ENTRYPOINT={REPO_DIR}/{plan.start}")
    return "\n".join(lines) + "\n"


def both(base: str, plan: Plan, key: str, *, lock: str, workdir: bool, stack: Stack) -> str:
    """Write one Dockerfile of both images, of which the environment is the stage ``ENVIRONMENT_STAGE``.

    Its context is the checkout; the environment's own files are secrets.
    """
    first = environment(
        f"{base} AS {ENVIRONMENT_STAGE}",
        plan,
        key,
        wheels_only=True,
        lock=lock,
        workdir=workdir,
        by_secrets=True,
        stack=stack,
    )
    return first + content(ENVIRONMENT_STAGE, plan)


def ignore_file(patterns: str) -> str:
    """Write the ignore file that lies beside the Dockerfile.

    It is never empty: an empty one would make the build tool read the repository's own.
    """
    return f"# What the repository leaves out of its image.\n{patterns}\n"


def exports(variables: dict[str, str]) -> str:
    """Write the shell script that sets variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def bytecode(base: str, python: str, program: str, seconds: int, nonce: str) -> str:
    """Write the Dockerfile that compiles new wheels in the cache; ``/compiled`` of its result says how many files.

    ``program`` lies in the build context. Sources are foreign: what they can make the compiler use is limited.
    """
    site = f"{PREFIX}/lib/python{python}/site-packages"
    run = f"{PROGRAM}/{program} {CACHE} {site} {seconds} > /tmp/compiled"
    script = f": {nonce}; ulimit -v 2097152; {run}"
    mounts = f"{_cache(shared_cache(python))} {_program(program, by_secrets=False)}"
    lines = [
        f"FROM {base} AS compile",
        f"USER {USER}",
        f"RUN {mounts} {json.dumps(['/bin/bash', '-c', script])}",
        "FROM scratch",
        "COPY --from=compile /tmp/compiled /",
    ]
    return "\n".join(lines) + "\n"


def fetch(base: str, python: str, nonce: str) -> str:
    """Write the Dockerfile that brings new wheels into the cache; ``/fetched`` of its result is an empty file."""
    mounts = f"{_cache(shared_cache(python))} {UV_MOUNT} {_resolved(by_secrets=True)}"
    script = f": {nonce}; {USE_UV_CONFIGURATION}; {PROGRAM}/{INSTALL_PROGRAM} {RESOLVED} {CACHE}; touch {STEP}/fetched"
    lines = [f"FROM {base} AS fetch", f"USER {USER}", run_step(script, mounts)]
    return "\n".join([*lines, "FROM scratch", f"COPY --from=fetch {STEP}/fetched /"]) + "\n"


def shared_cache(python: str) -> str:
    """Give the id of the cache of ready-made wheels; one per Python, because the wheels' bytecode is in it."""
    return f"binderlet-uv-{python}"


def _cache(name: str) -> str:
    return f"--mount=type=cache,id={name},target={CACHE},uid={UID},gid={UID}"


def secret_mount(name: str, target: str) -> str:
    """Render the mount of a secret."""
    return f"--mount=type=secret,id={name},target={target},mode=0444"


def _program(name: str, *, by_secrets: bool) -> str:
    """Render the mount of a program of ours, which is among the secrets or in the build context."""
    target = f"{STEP}/{name}"
    return secret_mount(name, target) if by_secrets else f"--mount=type=bind,source={name},target={target}"


def _resolved(*, by_secrets: bool) -> str:
    """Render the mounts of what was resolved beforehand, and of the program that installs it."""
    return f"{_program(INSTALL_PROGRAM, by_secrets=by_secrets)} {secret_mount(RESOLVED_SECRET, RESOLVED)}"


def file_secrets(plan: Plan) -> dict[str, str]:
    """Name the secrets that hold the requirement files, by path."""
    return {path: f"binderlet-file-{number}" for number, path in enumerate(sorted(plan.requirements))}


def _files(plan: Plan, *, by_secrets: bool) -> str:
    if not by_secrets:
        return f"--mount=type=bind,source={REQUIREMENTS},target=/tmp/{REQUIREMENTS}"
    found = file_secrets(plan).items()
    return " ".join(secret_mount(name, f"{STEP}/{REQUIREMENTS}/{path}") for path, name in found)


def _install(plan: Plan, lock: str, mounts: str, *, wheels_only: bool, has_cache: bool) -> str:
    file = shlex.join([*plan.installer_options, "-r", plan.requirements_file])
    enter = f"{USE_UV_CONFIGURATION}; cd /tmp/{REQUIREMENTS}"
    if not wheels_only:
        # pip knows neither dates nor how to leave out what packages ask for and the lock has anyway.
        pip = "" if plan.installer_options else f" || {{ echo {shlex.quote(FIRST_CHOICE_FAILED)}; {PIP} {file}; }}"
        return run_step(f"{enter}; {UV} --no-cache {file}{pip}{_lock(lock)}", mounts)
    if not has_cache:
        return run_step(f"{enter}; {UV} --no-cache --no-build {file}{_lock(lock)}", mounts)
    resolved = f"[ -s {RESOLVED} ] && {PROGRAM}/{INSTALL_PROGRAM} {RESOLVED} {CACHE} {APART}"
    install = f"if ! {{ {resolved}; }}; then {UV} --cache-dir {CACHE} --no-build {file}; fi"
    # Removing thousands of files takes as long as writing the lock.
    script = f"{enter}; {install}; rm -rf {APART} & true{_lock(lock, f'{CACHE} {RESOLVED}')}; wait"
    return run_step(script, f"{_cache(shared_cache(plan.python))} {mounts}")


def _stack(plan: Plan, stack: Stack) -> list[str]:
    """Render the steps of a stack; no code of any package runs in them. Where packages come from is in their text."""
    install = f"{UV} --cache-dir {CACHE} --no-build --no-deps"
    mounts = f"{_cache(shared_cache(plan.python))} {UV_MOUNT}"
    return [
        run_step(f": {stack.source}; {USE_UV_CONFIGURATION}; {install} {shlex.quote(pin)}", mounts)
        for pin in stack.pins
    ]


def _debian(plan: Plan, *, cache_mounts: bool = True) -> list[str]:
    return ["USER root", _apt(plan.apt, cache_mounts=cache_mounts)] if plan.apt else []


def _lock(facts: str, hashes: str = "") -> str:
    """Render the writing of the lock after an installation, which it never makes fail; ``hashes`` are in these."""
    program = f"{PROGRAM}/{LOCK_PROGRAM} {shlex.quote(facts)} {LOCK} {hashes}"
    return f"; {program.rstrip()} || true" if facts else ""


def _apt(packages: tuple[str, ...], *, cache_mounts: bool) -> str:
    """Render the step that installs Debian packages; their scripts come from Debian, so they may share a cache."""
    mounts = (
        "--mount=type=cache,id=binderlet-apt,target=/var/cache/apt,sharing=locked "
        "--mount=type=cache,id=binderlet-apt-lists,target=/var/lib/apt/lists,sharing=locked"
        if cache_mounts
        else ""
    )
    options = (
        '-qq -o Acquire::Retries=2 -o Dpkg::Use-Pty=0 ${SSL_CERT_FILE:+-o Acquire::https::CAInfo="$SSL_CERT_FILE"}'
    )
    names = shlex.join(packages)
    script = (
        "export DEBIAN_FRONTEND=noninteractive; "
        f"apt-get {options} update; "
        f"apt-get {options} install --yes --no-install-recommends {names}"
    )
    return run_step(script, mounts)


def run_step(script: str, mounts: str = "") -> str:
    """Render a RUN step in its JSON form, in which nothing is special to the Dockerfile's own syntax."""
    home = "" if "apt-get" in script else f"export HOME={HOME}; "
    whole = f"set -eu; {SOURCE_ENVIRONMENT}; {home}{script}"
    flags = f"{mounts} {NETWORK_MOUNTS}".strip()
    return f"RUN {flags} {json.dumps(['/bin/bash', '-c', whole], ensure_ascii=False)}"
