"""uv's settings for the package index (pure): where it is, and how often it is asked."""

from __future__ import annotations

import json
import re

from binderlet.builder.plan import Plan
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings

PYPI = "https://pypi.org/simple"
OWN_INDEX = re.compile(r"(?m)^\s*(-i\b|--(extra-)?index-url|--no-index|--default-index|--index)")
"""In a requirement file: an index of the repository's own."""


def uv_configuration(network: NetworkEnvironment, settings: BuilderSettings, plan: Plan) -> str:
    """Write uv's settings: its indexes, in their order, and for how long it need not ask one again.

    Empty where uv is better left alone: the repository names an index, which would count for less than these, or the
    base image is the operator's, whose uv may be too old for them.
    """
    age = settings.index_age
    if not age or settings.base_image or any(map(OWN_INDEX.search, plan.requirements.values())):
        return ""
    control = f'cache-control = {{ api = "max-age={age:.0f}", files = "max-age={age:.0f}" }}\n'
    extra = [f"[[index]]\nurl = {json.dumps(url)}\n{control}" for url in network.extra_index_urls]
    return "\n".join([*extra, f"[[index]]\nurl = {json.dumps(network.index_url or PYPI)}\ndefault = true\n{control}"])


def only_index(network: NetworkEnvironment) -> str:
    """Give the index that all packages come from; empty where there are several."""
    return "" if network.extra_index_urls else network.index_url or PYPI
