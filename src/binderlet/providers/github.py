"""The ``gh`` repo provider: GitHub and GitHub Enterprise, ``user/repo/ref``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from binderlet.clients.forge import Forge
from binderlet.config.providers import GitHubProviderSettings, GitProviderSettings
from binderlet.errors import BadSpec, ProviderUnavailable, RefNotFound
from binderlet.model import Commit
from binderlet.providers.base import Log
from binderlet.providers.cache import LookupCache
from binderlet.providers.refs import check_ref, is_full_sha
from binderlet.providers.repositories import Repositories, decode

logger = structlog.get_logger(__name__)

_NAME: Final = re.compile(r"(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)
_OLD_AND_NEW_DEFAULT: Final = {"master", "main"}


@dataclass(frozen=True, slots=True)
class GitHubSpec:
    """A spec taken apart."""

    user: str
    repo: str
    ref: str


def parse(spec: str) -> GitHubSpec:
    """Take a spec apart; ``.git`` at the repository's end is left out.

    Raises:
        BadSpec: it has not the form.
    """
    parts = spec.split("/", 2)
    if len(parts) < 3 or not all(parts):  # noqa: PLR2004 - user, repo, ref
        meant = spec.rstrip("/")
        mend = f' Did you mean "{meant}/HEAD"?' if meant.count("/") == 1 else ""
        raise BadSpec(f'Spec is not of the form "user/repo/ref", provided: "{spec}".{mend}')
    user, repo, ref = (decode(part) for part in parts)
    repo = repo.removesuffix(".git")
    if not _NAME.fullmatch(user) or not _NAME.fullmatch(repo):
        raise BadSpec(f"{user}/{repo} cannot be the name of a GitHub repository.")
    check_ref(ref)
    return GitHubSpec(user, repo, ref)


def display_of(hostname: str) -> Mapping[str, Any]:
    """Make the entry in ``/api/repoproviders``."""
    return {
        "displayName": "GitHub",
        "id": "gh",
        "spec": {"validateRegex": "[^/]+/[^/]+/.+"},
        "detect": {"regex": f"^(https?://{hostname}/)?(?<repo>.*[^/])/?"},
        "repo": {
            "label": "GitHub repository name or URL",
            "placeholder": f"example: binder-examples/requirements or https://{hostname}/binder-examples/requirements",
            "urlEncode": False,
        },
        "ref": {"enabled": True, "default": "HEAD"},
    }


class GitHubProvider:
    """The ``gh`` repo provider, as ``Provider`` says.

    ``git`` has the time limits and the protocols that submodules may use; ``mirrors``, ``size_limit`` and
    ``environment`` are as for ``GitProvider``.
    """

    id = "gh"
    event_name = "GitHub"

    def __init__(
        self,
        settings: GitHubProviderSettings,
        *,
        git: GitProviderSettings,
        mirrors: Path,
        size_limit: int,
        environment: Mapping[str, str],
    ) -> None:
        self._hostname = settings.hostname
        self._base = (settings.base_url or f"https://{settings.hostname}").rstrip("/")
        self._repositories = Repositories(
            git,
            protocols=sorted({*git.allowed_protocols, self._base.partition("://")[0]}),
            mirrors=mirrors / self.id,
            size_limit=size_limit,
            environment=environment,
        )
        self._forge = (
            Forge(
                settings.api_url,
                token=settings.token.get_secret_value(),
                seconds=git.timeout,
                environment=environment,
            )
            if settings.resolve == "api"
            else None
        )
        self._commits: LookupCache[Commit] = LookupCache("gh provider", git.ref_cache)
        self._display = display_of(settings.hostname)

    @property
    def display(self) -> Mapping[str, Any]:
        """As ``Provider.display``."""
        return self._display

    def check(self, spec: str) -> None:
        """As ``Provider.check``."""
        parse(spec)

    async def resolve(self, spec: str) -> Commit:
        """As ``Provider.resolve``; ``master`` and ``main`` mean the default branch where they do not exist."""
        return await self._commits.get(spec, self._look_up)

    async def _look_up(self, spec: str) -> Commit:
        wanted = parse(spec)
        try:
            sha = await self._find(wanted, wanted.ref)
        except RefNotFound:
            if wanted.ref not in _OLD_AND_NEW_DEFAULT:
                raise
            # links outlive the renaming of default branches, which GitHub asked everyone to do
            sha = await self._find(wanted, "HEAD")
        name = f"{wanted.user}/{wanted.repo}"
        page = f"https://{self._hostname}/{name}"
        return Commit(
            provider=self.id,
            sha=sha,
            clone_url=f"{self._base}/{name}",
            repo_url=page,
            ref_url=f"{page}/tree/{sha}",
            resolved_spec=f"{name}/{sha}",
            slug=f"{wanted.user}-{wanted.repo}",
            owner=f"{self._hostname}/{wanted.user}".lower(),
        )

    async def _find(self, wanted: GitHubSpec, ref: str) -> str:
        if self._forge is not None and not is_full_sha(ref):
            try:
                return await self._forge.commit(wanted.user, wanted.repo, ref)
            except ProviderUnavailable as error:
                logger.warning("GitHub's API gives no answer, asking with git", reason=error.message)
        return await self._repositories.resolve(f"{self._base}/{wanted.user}/{wanted.repo}", ref)

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """As ``Provider.fetch``."""
        await self._repositories.fetch(commit, destination, log)

    async def close(self) -> None:
        """As ``Provider.close``."""
        await self._commits.close()
        if self._forge is not None:
            await self._forge.close()
