"""One short question to the running service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from binderlet.cli.admin import connect

if TYPE_CHECKING:
    from binderlet.config.schema import Settings


def ask(settings: Settings, method: str, path: str) -> Any:  # noqa: ANN401 - JSON
    """Make one call and give its JSON.

    Raises:
        ServiceUnavailable: the service does not answer.
        BinderletError: it answered with an error.
    """

    async def call() -> Any:  # noqa: ANN401 - JSON
        async with connect(settings) as client:
            return await client.call(method, path)

    return asyncio.run(call())
