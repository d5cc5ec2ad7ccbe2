"""Repositories in memory, for tests and for trying the service out: ``owner/repo/ref``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from binderlet.errors import BadSpec, ProviderUnavailable, RefNotFound, RepositoryNotFound
from binderlet.model import Commit
from binderlet.providers.base import Log
from binderlet.providers.mirrors import remove
from binderlet.providers.refs import check_ref, find, is_full_sha, is_short_sha
from binderlet.providers.repositories import decode

_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class FakeRepository:
    """One repository: what its refs (``refs/heads/main``, ``HEAD``) mean, and each commit's files."""

    refs: Mapping[str, str]
    commits: Mapping[str, Mapping[str, bytes]]


@dataclass(slots=True)
class FakeProvider:
    """Repositories by ``owner/repo``, as ``Provider`` says; ``down`` makes it answer as a host that is away."""

    repositories: Mapping[str, FakeRepository]
    id: str = "fake"
    event_name: str = "Fake"
    down: bool = False
    delay: float = 0.0
    """Seconds that each answer takes."""
    display: Mapping[str, Any] = field(
        default_factory=lambda: {
            "displayName": "Fake",
            "id": "fake",
            "spec": {"validateRegex": "[^/]+/[^/]+/.+"},
            "repo": {"label": "Fake repository", "placeholder": "", "urlEncode": False},
            "ref": {"enabled": True, "default": "HEAD"},
        }
    )

    def check(self, spec: str) -> None:
        """As ``Provider.check``."""
        self._parse(spec)

    def _parse(self, spec: str) -> tuple[str, str]:
        parts = [decode(part) for part in spec.split("/", _PARTS - 1)]
        if len(parts) < _PARTS or not all(parts):
            raise BadSpec(f'Spec is not of the form "owner/repo/ref", provided: "{spec}".')
        check_ref(parts[2])
        return f"{parts[0]}/{parts[1]}", parts[2]

    async def resolve(self, spec: str) -> Commit:
        """As ``Provider.resolve``."""
        name, ref = self._parse(spec)
        sha = ref.lower() if is_full_sha(ref) else self._find(await self._repository(name), name, ref)
        url = f"https://fake.invalid/{name}"
        return Commit(
            provider=self.id,
            sha=sha,
            clone_url=url,
            repo_url=url,
            ref_url=f"{url}/tree/{sha}",
            resolved_spec=f"{name}/{sha}",
            slug=name.replace("/", "-"),
            owner=f"fake.invalid/{name.partition('/')[0]}".lower(),
        )

    async def _repository(self, name: str) -> FakeRepository:
        await asyncio.sleep(self.delay)
        if self.down:
            raise ProviderUnavailable("The fake host does not answer.")
        if name not in self.repositories:
            raise RepositoryNotFound(f"There is no fake repository {name}.")
        return self.repositories[name]

    def _find(self, repository: FakeRepository, name: str, ref: str) -> str:
        if sha := find(ref, repository.refs):
            return sha
        starting = [sha for sha in repository.commits if is_short_sha(ref) and sha.startswith(ref.lower())]
        if len(starting) > 1:
            raise RefNotFound(f"More than one commit of {name} starts with {ref}.")
        if not starting:
            raise RefNotFound(f"{name} has no branch, tag or commit named {ref!r}.")
        return starting[0]

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """As ``Provider.fetch``; ``.git`` holds nothing but a detached HEAD."""
        log(f"Fetching {commit.repo_url} at {commit.sha}")
        try:
            repository = await self._repository(commit.resolved_spec.rpartition("/")[0])
            await asyncio.to_thread(_write, destination, _files_of(repository, commit))
        except BaseException:
            await remove(destination)
            raise

    async def close(self) -> None:
        """As ``Provider.close``."""


def _files_of(repository: FakeRepository, commit: Commit) -> Mapping[str, bytes]:
    if commit.sha not in repository.commits:
        raise RefNotFound(f"{commit.repo_url} has no commit {commit.sha}.")
    return {**repository.commits[commit.sha], ".git/HEAD": f"{commit.sha}\n".encode()}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
