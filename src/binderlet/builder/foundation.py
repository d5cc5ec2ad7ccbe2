"""The base image that a repository's plan stands on: the first, or one for another Python, made when asked for."""

from __future__ import annotations

from binderlet.builder.base import BaseImage, BaseImages
from binderlet.builder.detect import Detected
from binderlet.builder.plan import Kind, Plan, make_plan
from binderlet.errors import RegistryUnreachable
from binderlet.events.buildlog import BuildLog


async def plan_on_base(found: Detected, own: BaseImage, bases: BaseImages, log: BuildLog) -> tuple[Plan, BaseImage]:
    """Decide what to build, and give the base image for it; where its Python cannot be had, repo2docker builds.

    Raises:
        BadRepository: a file is wrong; the message names it.
        BuildFailed: making the base image failed.
    """
    plan = make_plan(found, own.python, bases.others)
    if plan.kind is not Kind.PYTHON or plan.conda is not None or plan.python == own.python:
        return plan, own
    try:
        return plan, await bases.ensure(log, plan.python)
    except RegistryUnreachable as error:
        log.write(f"{error.message.rstrip('.')}. So there is no base image for Python {plan.python} now.")
        return make_plan(found, own.python), own
