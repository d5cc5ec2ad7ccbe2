"""Says in one sentence why a build failed, from the end of what it printed (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable

from binderlet.builder.plan import Kind, Plan
from binderlet.config.schema import BuilderSettings
from binderlet.config.units import format_bytes, format_duration
from binderlet.errors import (
    BadRepository,
    BinderletError,
    BuildFailed,
    BuildTimeout,
    DiskFull,
    EngineUnavailable,
    RegistryUnreachable,
)

ENGINE_DOWN = re.compile(
    r"(?im)cannot connect to the docker daemon|error during connect|unable to connect to podman|"
    r"^(error: )?(unexpected EOF|.*rpc error: code = Unavailable desc = .*)$"
)
NO_SPACE = re.compile(r"(?i)no space left on device|disk quota exceeded")
NO_PROCESSES = re.compile(
    r"(?i)fork(\(\))?: (retry: )?resource temporarily unavailable|can't start new thread|cannot fork|"
    r"BlockingIOError: \[Errno 11\]|failed to create (new )?(os )?thread|pthread_create.* failed.*resource temporarily"
)
CERTIFICATE = re.compile(
    r"(?i)certificate verify failed|UnknownIssuer|unknown authority|self[- ]signed certificate|"
    r"certificate verification failed|unable to get local issuer"
)
NO_NETWORK = re.compile(
    r"(?i)dns error|failed to lookup address|temporary failure (in name resolution|resolving)|no such host|"
    r"name or service not known|could not resolve|connection (refused|timed out|reset)|network is unreachable|"
    r"no route to host|i/o timeout|tcp connect error|could not connect to|operation timed out|proxyerror|"
    r"failed to (fetch|download): .*https?://|max retries exceeded|unable to connect"
)
URL_HOST = re.compile(r"https?://([A-Za-z0-9.-]+(?::\d+)?)")
NAMED_HOST = re.compile(
    r"(?:lookup |resolving '|resolve host:? '?|resolve: |host=')([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"
)
PULL = re.compile(r"https?://([^/\s]+)/v2/([^\s\"]+)/manifests/([^\s\"]+)")
PARSE = re.compile(r"dockerfile parse error (?:on )?line (\d+): (.+)", re.IGNORECASE)
APT_UNKNOWN = re.compile(r"E: Unable to locate package (\S+)|E: Couldn't find any package by \w+ '([^']+)'")
APT_VERSION = re.compile(
    r"E: (Version '[^']+' for '[^']+' was not found|Package '[^']+' has no installation candidate)"
)
UV_NO_SOLUTION = re.compile(
    r"(?s)No solution found when resolving dependencies[^\n]*\n(?:\s*cause:)?(.+?)(?:\n\s*\n|\nuv could not|\Z)"
)
PIP_NO_MATCH = re.compile(
    r"(?m)^ERROR: (?:No matching distribution found for|Could not find a version that satisfies) (.+)$"
)
PIP_CONFLICT = re.compile(r"(?m)^ERROR: (Cannot install .+)$")
PIP_BUILD = re.compile(
    r"(?:Failed to build|Could not build wheels for|Getting requirements to build wheel.*) ['\"`]?([A-Za-z0-9._-]+)"
)
DNS_HINT = (
    "Is this machine connected? Behind a proxy set network.http_proxy and network.https_proxy; with a package index"
    " or Debian mirror of your own set network.index_url or builder.base_mirror."
)
FROM_SOURCE = (
    "uv could not install these packages as ready-made wheels. Trying again with building from source allowed, "
    "which takes longer..."
)
CA_HINT = "Set network.ca_bundle to a file with the certificates that this network uses."


def diagnose(tail: str, plan: Plan, code: int) -> BinderletError:
    """Make the error of a build that ended with ``code`` after printing ``tail``."""
    for look in (_engine, _disk, _processes, _apt, _dockerfile, _network, _resolver):
        if (error := look(tail, plan)) is not None:
            return error
    if "postBuild" in plan.post_build and (plan.kind is Kind.PYTHON):
        return BuildFailed(f"The build failed with exit code {code}; {plan.post_build} or a step before it went wrong.")
    return BuildFailed(f"The build failed with exit code {code}.")


def end_error(reason: str, tail: str, code: int, plan: Plan, settings: BuilderSettings) -> BinderletError:
    """Give the error of a build that has not ended well; ``reason`` is its outcome's, ``settings`` have the limits."""
    if reason == "timeout":
        return BuildTimeout(f"The build took longer than {format_duration(settings.timeout)}, so it was ended.")
    if reason == "disk":
        return BuildFailed(
            f"One step of the build wrote more than {format_bytes(settings.disk_limit)}, so it was ended.",
            hint="Keep large data elsewhere and read it in the session; operators can raise builder.disk_limit.",
        )
    if reason == "exited":
        return diagnose(tail, plan, code)
    return BuildFailed("The build's process was ended from outside.", hint="Try again.")


def may_build_from_source(tail: str, error: BinderletError) -> bool:
    """Whether an install from wheels alone that failed this way may go well when packages may also be built."""
    debian = any(line.startswith("E: ") for line in tail.splitlines())
    return not debian and not isinstance(error, (RegistryUnreachable, EngineUnavailable, DiskFull))


Look = Callable[[str, Plan], BinderletError | None]


def _engine(tail: str, _: Plan) -> BinderletError | None:
    return EngineUnavailable("The container engine went away during the build.") if ENGINE_DOWN.search(tail) else None


def _disk(tail: str, _: Plan) -> BinderletError | None:
    if NO_SPACE.search(tail) is None:
        return None
    return DiskFull("The disk of this service is full: the build was given up.", retry_after=600)


def _processes(tail: str, _: Plan) -> BinderletError | None:
    if NO_PROCESSES.search(tail) is None:
        return None
    return BuildFailed(
        "The build started more processes than it may have.",
        hint="Let it do less at a time; operators can raise builder.group_processes.",
    )


def _apt(tail: str, plan: Plan) -> BinderletError | None:
    where = "apt.txt" if plan.apt else ""
    if where and (found := APT_UNKNOWN.search(tail)):
        return BadRepository(f"{where}: Debian has no package named {found[1] or found[2]}.")
    if where and (found := APT_VERSION.search(tail)):
        return BadRepository(f"{where}: {found[1]}.")
    return None


def _dockerfile(tail: str, plan: Plan) -> BinderletError | None:
    if plan.kind is Kind.DOCKERFILE and (found := PARSE.search(tail)):
        return BadRepository(f"{plan.dockerfile}, line {found[1]}: {found[2].strip()}.")
    return None


def _network(tail: str, plan: Plan) -> BinderletError | None:
    lines = tail.splitlines()
    certificate = next((line for line in lines if CERTIFICATE.search(line)), None)
    if certificate is not None:
        host = _host(tail, certificate)
        return RegistryUnreachable(f"{host} shows a certificate that builds do not trust.", hint=CA_HINT)
    failed = next((line for line in lines if NO_NETWORK.search(line)), None)
    if failed is None:
        return None
    if plan.kind is Kind.DOCKERFILE and (found := PULL.search(failed)):
        image = f"{found[2]}{'@' if ':' in found[3] else ':'}{found[3]}"
        return RegistryUnreachable(
            f"{plan.dockerfile} builds on the image {image}; its registry {found[1]} cannot be reached from here.",
            hint=f"Load the image into this machine's engine, or let the engine reach {found[1]}.",
        )
    host = _host(tail, failed)
    return RegistryUnreachable(f"{host} cannot be reached from here, and the build needs it.", hint=DNS_HINT)


def _host(tail: str, line: str) -> str:
    """Give the host that a line names, else the last one named before it, else words."""
    before = tail[: tail.find(line) + len(line)]
    for text in (line, before):
        for pattern in (NAMED_HOST, URL_HOST):
            if found := pattern.findall(text):
                return str(found[-1])
    return "A server"


def _resolver(tail: str, plan: Plan) -> BinderletError | None:
    if plan.kind is not Kind.PYTHON:
        return None
    where = plan.requirements_file or "requirements.txt"
    if found := UV_NO_SOLUTION.search(tail):
        reason = " ".join(found[1].replace("╰─▶", "").split()).rstrip(".")
        return BadRepository(f"{where} cannot be installed: {reason}.")
    if found := PIP_CONFLICT.search(tail) or PIP_NO_MATCH.search(tail):
        return BadRepository(f"{where} cannot be installed: no package fits {found[1].rstrip('.')}.")
    if found := PIP_BUILD.search(tail):
        return BuildFailed(f"{where}: building the package {found[1]} failed; its own messages are above.")
    return None
