"""The limits of builds, written by this process or by the root helper."""

from __future__ import annotations

import structlog

from binderlet.builder.group import limit_builds, limits_of, step_limits
from binderlet.builder.steps import Limits
from binderlet.clients.helper import HelperRefused, ask
from binderlet.config.schema import BuilderSettings

log = structlog.get_logger(__name__)


def limits_for(settings: BuilderSettings, helper: str) -> Limits:
    """Limit all builds together, and give what the steps of one may do; blocks.

    Nothing is raised: without the rights for it, builds are as the engine makes them.
    """
    together = limits_of(settings)
    if not helper:
        limit_builds(together)
        return step_limits(settings)
    try:
        ask(helper, "limit", memory=together.memory, processes=together.processes, weight=together.weight)
    except HelperRefused as error:
        log.warning("builds together are not limited", why=str(error))
    return step_limits(settings)._replace(helper=helper)
