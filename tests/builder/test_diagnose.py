"""Why a build failed, in a sentence."""

from __future__ import annotations

import pytest

from binderlet.builder.diagnose import diagnose, end_error, may_build_from_source
from binderlet.builder.plan import Kind, Plan
from binderlet.config.schema import BuilderSettings
from binderlet.errors import (
    BadRepository,
    BinderletError,
    BuildFailed,
    BuildTimeout,
    DiskFull,
    EngineUnavailable,
    RegistryUnreachable,
)

PYTHON = Plan(Kind.PYTHON, apt=("curl",), requirements_file="binder/requirements.txt")
DOCKERFILE = Plan(Kind.DOCKERFILE, dockerfile="binder/Dockerfile")


@pytest.mark.parametrize(
    ("plan", "tail", "kind", "words"),
    [
        (
            PYTHON,
            (
                "error: Request failed after 3 retries\n  cause: Failed to fetch: `https://index.test/simple/numpy/`\n"
                "  cause: dns error\n  cause: failed to lookup address information: Name or service not known"
            ),
            RegistryUnreachable,
            "index.test cannot be reached",
        ),
        (
            PYTHON,
            "Err:1 http://mirror.test/debian bookworm InRelease\n  Temporary failure resolving 'mirror.test'",
            RegistryUnreachable,
            "mirror.test cannot be reached",
        ),
        (
            PYTHON,
            "error: Failed to fetch: `https://index.test/simple/x/`\n  cause: invalid peer certificate: UnknownIssuer",
            RegistryUnreachable,
            "index.test shows a certificate",
        ),
        (PYTHON, "x: fork: retry: Resource temporarily unavailable", BuildFailed, "more processes than it may"),
        (PYTHON, "RuntimeError: can't start new thread", BuildFailed, "more processes than it may"),
        (PYTHON, "curl: (7) Connection refused", RegistryUnreachable, "A server cannot be reached"),
        (
            DOCKERFILE,
            (
                'failed to solve: failed to do request: Head "https://registry.test/v2/library/python/manifests/3.11":'
                " dial tcp: lookup registry.test on 10.0.0.1:53: no such host"
            ),
            RegistryUnreachable,
            "builds on the image library/python:3.11; its registry registry.test cannot",
        ),
        (
            DOCKERFILE,
            'Get "https://registry.test/v2/a/manifests/sha256:1": dial tcp 10.0.0.1:443: i/o timeout',
            RegistryUnreachable,
            "image a@sha256:1; its registry registry.test",
        ),
        (
            DOCKERFILE,
            "dockerfile parse error line 2: unknown instruction: FOO",
            BadRepository,
            "binder/Dockerfile, line 2: unknown instruction: FOO.",
        ),
        (
            PYTHON,
            "E: Unable to locate package no-such-package",
            BadRepository,
            "Debian has no package named no-such-package",
        ),
        (PYTHON, "E: Couldn't find any package by regex 'x.y'", BadRepository, "no package named x.y"),
        (PYTHON, "E: Version '9' for 'curl' was not found", BadRepository, "Version '9' for 'curl' was not found"),
        (
            PYTHON,
            (
                "  x No solution found when resolving dependencies:\n"
                "  ╰─▶ Because there is no version of numpy==99 and you require\n      numpy==99, we can conclude that"
                " your requirements are unsatisfiable.\n\nmore"
            ),
            BadRepository,
            (
                "binder/requirements.txt cannot be installed: Because there is no version of numpy==99 and you require"
                " numpy==99, we can conclude that your requirements are unsatisfiable."
            ),
        ),
        (
            PYTHON,
            (
                "error: No solution found when resolving dependencies\n  cause: Because a and b.\n"
                "uv could not install these packages; trying pip.\nERROR: No matching distribution found for a"
            ),
            BadRepository,
            "cannot be installed: Because a and b.",
        ),
        (PYTHON, "ERROR: No matching distribution found for x==9", BadRepository, "no package fits x==9"),
        (PYTHON, "ERROR: Failed to build 'lxml'\n", BuildFailed, "building the package lxml failed"),
        (PYTHON, "error: Failed to build `own @ file:///home`\n", BuildFailed, "building the package own failed"),
        (PYTHON, "write /x: no space left on device", DiskFull, "disk of this service is full"),
        (PYTHON, "Cannot connect to the Docker daemon at unix:///x", EngineUnavailable, "engine went away"),
        (DOCKERFILE, "begun\nunexpected EOF\n", EngineUnavailable, "engine went away"),
        (DOCKERFILE, "gunzip: unexpected EOF in archive", BuildFailed, "exit code"),
        (PYTHON, "something else", BuildFailed, "exit code 3"),
        (DOCKERFILE, "No matching distribution", BuildFailed, "exit code 3"),
        (Plan(Kind.PYTHON, post_build="postBuild"), "boom", BuildFailed, "postBuild or a step before it"),
        (Plan(Kind.PYTHON), "ERROR: No matching distribution found for x", BadRepository, "requirements.txt cannot"),
    ],
)
def test_diagnose(plan: Plan, tail: str, kind: type[BinderletError], words: str) -> None:
    """The error says which file or host it was, and what to set."""
    error = diagnose(tail, plan, 3)
    assert type(error) is kind
    assert words in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("tail", "may"),
    [
        ("hint: Wheels are required for `docopt`", True),
        ("error: No solution found", True),
        ("E: Unable to locate package x", False),
        ("dns error", False),
        ("no space left on device", False),
    ],
)
def test_may_build_from_source(tail: str, *, may: bool) -> None:
    """What another installer could not mend either is not tried again."""
    assert may_build_from_source(tail, diagnose(tail, PYTHON, 1)) is may


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        ("timeout", BuildTimeout, "longer than 1m"),
        ("disk", BuildFailed, "more than 2G"),
        ("lost", BuildFailed, "ended from outside"),
        ("exited", BuildFailed, "3"),
    ],
)
def test_ends(reason: str, kind: type[BinderletError], words: str) -> None:
    """A build that took too long, or that something else ended, says so; else its own words count."""
    error = end_error(reason, "no words", 3, PYTHON, BuilderSettings(timeout=60, disk_limit=2 * 1024**3))
    assert type(error) is kind
    assert words in error.message
