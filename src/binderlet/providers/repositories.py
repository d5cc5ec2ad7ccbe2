"""What the repo providers that speak git have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from binderlet.clients.git import Git
from binderlet.config.providers import GitProviderSettings
from binderlet.errors import BadSpec
from binderlet.model import Commit
from binderlet.providers.base import Log
from binderlet.providers.fetch import Fetcher
from binderlet.providers.mirrors import Mirrors
from binderlet.providers.resolve import Resolver


def decode(spec: str) -> str:
    """Decode a percent-encoded part of a spec.

    Raises:
        BadSpec: it is not UTF-8, or has control characters or spaces.
    """
    try:
        text = unquote(spec, errors="strict")
    except UnicodeDecodeError:
        raise BadSpec(f"{spec[:100]!r} is not percent-encoded UTF-8.") from None
    if any(character <= " " or character == "\x7f" for character in text):
        raise BadSpec(f"{text[:100]!r} has spaces or control characters in it.")
    return text


def owner_of(url: str) -> str:
    """Whom shares count: the URL's host and first path segment, in lower case because hosts fold it."""
    parts = urlsplit(url)
    first = parts.path.strip("/").partition("/")[0]
    return f"{parts.hostname or ''}/{first}".lower()


class Repositories:
    """Git repositories: resolving, and fetching by way of mirrors below ``mirrors``."""

    def __init__(
        self,
        settings: GitProviderSettings,
        *,
        protocols: Sequence[str],
        mirrors: Path,
        size_limit: int,
        environment: Mapping[str, str],
    ) -> None:
        git = Git(protocols=protocols, environment=environment)
        copies = Mirrors(git, mirrors, limit=size_limit)
        self._resolver = Resolver(git, copies, seconds=settings.timeout)
        self._fetcher = Fetcher(git, copies, seconds=settings.fetch_timeout, limit=size_limit, protocols=protocols)

    async def resolve(self, url: str, ref: str) -> str:
        """As ``Resolver.resolve``."""
        return await self._resolver.resolve(url, ref)

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """As ``Provider.fetch``."""
        await self._fetcher.fetch(commit, destination, log)
