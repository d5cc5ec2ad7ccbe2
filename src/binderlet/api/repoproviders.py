"""``/api/repoproviders`` and the older ``/_config``: which repo providers a form may offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from binderlet.api.ports import Services


def legacy_config(displays: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Give what ``/_config`` was before ``/api/repoproviders`` took its place, for clients that still ask."""
    return {
        display["id"]: {
            "text": display["repo"]["label"],
            "tag_text": "Git ref (branch, tag, or commit)",
            "ref_prop_disabled": not display["ref"]["enabled"],
            "label_prop_disabled": not display["ref"]["enabled"],
        }
        for display in displays
    }


class RepoProviders:
    """The endpoints; their bodies never change while the service runs."""

    def __init__(self, services: Services) -> None:
        self._displays = [dict(provider.display) for provider in services.providers.values()]
        self._legacy = legacy_config(self._displays)

    async def listing(self, _request: Request) -> JSONResponse:
        """Answer with the list, in the order of the settings."""
        return JSONResponse(self._displays)

    async def legacy(self, _request: Request) -> JSONResponse:
        """Answer as BinderHub did until 2024."""
        return JSONResponse(self._legacy)
