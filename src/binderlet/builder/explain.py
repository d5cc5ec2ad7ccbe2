"""Says of a repository which files were found, what follows from them, and what would make it be built anew (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from binderlet.builder.detect import Detected
from binderlet.builder.keys import BUILDER_VERSION
from binderlet.builder.plan import Kind, Plan

NAMES = {
    Kind.PYTHON: "an environment on binderlet's base image, and the repository's files on top",
    Kind.DOCKERFILE: "the repository's own Dockerfile",
    Kind.REPO2DOCKER: "repo2docker",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``binderlet build --explain`` prints; each field is a list of lines but the first two."""

    kind: str
    plan: str
    used: tuple[str, ...]
    """Files that count."""
    unused: tuple[str, ...]
    """Configuration files that are there and count for nothing."""
    reasons: tuple[str, ...]
    environment_key: tuple[str, ...]
    """What the environment is named by: equal parts, equal environment, whatever the repository."""
    invalidates: tuple[str, ...]
    """Changes after which the environment is made anew."""
    each_commit: tuple[str, ...]
    """What every new commit costs."""


def explain(found: Detected, plan: Plan, *, base: str, platform: str) -> Explanation:
    """Explain a plan on the base image ``base``, which is described in words."""
    used = _used(found, plan)
    return Explanation(
        kind=plan.kind,
        plan=NAMES[plan.kind] + (f" ({plan.language})" if plan.language else ""),
        used=tuple(sorted(used)),
        unused=tuple(sorted(set(found.files or {}) - used)),
        reasons=plan.reasons,
        environment_key=_key(plan, base, platform),
        invalidates=tuple(_invalidates(plan)),
        each_commit=tuple(_each_commit(plan)),
    )


def _used(found: Detected, plan: Plan) -> set[str]:
    files = set(found.files or {})
    if plan.kind is Kind.DOCKERFILE:
        return {plan.dockerfile}
    if plan.kind is Kind.REPO2DOCKER:
        return files
    used = {plan.post_build, plan.start, found.path("apt.txt")} | set(plan.requirements)
    if plan.conda is None:
        used.add(found.path("runtime.txt"))
    else:
        used.add(plan.conda.path)
    if "." in plan.local:
        used |= {"setup.py", "setup.cfg", "pyproject.toml"}
    if plan.local or plan.requirements:
        used |= {path for path in (found.path("Pipfile"), found.path("Pipfile.lock")) if path in plan.requirements}
        used.add(found.path("requirements.txt") if plan.local and not plan.requirements else "")
    return used & files


def _key(plan: Plan, base: str, platform: str) -> tuple[str, ...]:
    if plan.kind is not Kind.PYTHON:
        return ()
    parts = [f"base image: {base}", f"builder: version {BUILDER_VERSION}", f"platform: {platform}"]
    parts += [f"Debian packages: {' '.join(plan.apt)}"] if plan.apt else []
    parts += [f"text of {path}, without comments" for path in sorted(plan.requirements)]
    parts += [f"installer: {' '.join(plan.installer_options)}"] if plan.installer_options else []
    parts += [f"packages and channels of {plan.conda.path}"] if plan.conda else []
    return tuple(parts)


def _invalidates(plan: Plan) -> Iterator[str]:
    if plan.kind is not Kind.PYTHON:
        yield "any change in the repository; the build tool's own cache of steps decides what is run again"
        return
    if plan.requirements:
        yield f"another requirement in {', '.join(sorted(plan.requirements))}"
    if plan.conda:
        yield f"another package or channel in {plan.conda.path}"
    yield "another list of Debian packages in apt.txt"
    yield "another version of Python, or another date, in runtime.txt"
    yield "a new base image (security updates, other versions of Jupyter) or a new version of the builder"


def _each_commit(plan: Plan) -> Iterator[str]:
    if plan.kind is not Kind.PYTHON:
        return
    yield "the repository's files are copied"
    if plan.local:
        yield f"installed anew: {' '.join(plan.local)}"
    if plan.post_build:
        yield f"run anew: {plan.post_build}"


def as_text(explanation: Explanation) -> str:
    """Write an explanation for people."""
    sections = (
        ("Found", explanation.used),
        ("Found, but not used", explanation.unused),
        ("What follows", explanation.reasons),
        ("The environment is named by", explanation.environment_key),
        ("It is made anew after", explanation.invalidates),
        ("Every new commit", explanation.each_commit),
    )
    lines = [f"Built by: {explanation.plan}"]
    for title, entries in sections:
        if entries:
            lines += ["", f"{title}:", *(f"  {entry}" for entry in entries)]
    return "\n".join(lines) + "\n"
