"""How many launches one client may ask for in an hour: a fixed window that begins with the first of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from binderlet.errors import RateLimited

WINDOW = 3600.0
"""Seconds."""
CLIENTS = 50_000
"""Windows kept at most: beyond that the oldest is forgotten, so that memory stays bounded under attack."""


@dataclass(slots=True)
class Window:
    """One client's hour."""

    ends: float
    used: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left for one client."""

    limit: int
    remaining: int
    reset: float
    """When the window ends, seconds since the epoch."""

    @property
    def headers(self) -> dict[str, str]:
        """The response headers, named as BinderHub names them."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": str(math.ceil(self.reset)),
        }


class RateLimiter:
    """Counts launches per client; ``limit`` 0 counts nothing."""

    def __init__(self, limit: int, *, clients: int = CLIENTS) -> None:
        self.limit = limit
        self._most = clients
        self._windows: dict[str, Window] = {}

    def charge(self, client: str, now: float) -> Allowance | None:
        """Count one launch; give what is left, or None where there is no limit.

        Raises:
            RateLimited: nothing was left; ``retry_after`` is the seconds until the window ends.
        """
        if not self.limit:
            return None
        window = self._windows.get(client)
        if window is None or window.ends <= now:
            window = self._begin(client, now)
        if window.used >= self.limit:
            wait = max(1, math.ceil(window.ends - now))
            raise RateLimited(f"Rate limit exceeded. Try again in {wait} seconds.", retry_after=wait)
        window.used += 1
        return Allowance(self.limit, self.limit - window.used, window.ends)

    def _begin(self, client: str, now: float) -> Window:
        """Open a window; as all last equally long, the dict's order is the order in which they end."""
        self._windows.pop(client, None)
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest].ends > now and len(self._windows) < self._most:
                break
            del self._windows[oldest]
        self._windows[client] = window = Window(now + WINDOW)
        return window

    def __len__(self) -> int:
        return len(self._windows)
