"""The ``git`` repo provider: any git URL, ``<percent-encoded url>/<ref>``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from binderlet.config.providers import GitProviderSettings
from binderlet.errors import BadSpec
from binderlet.model import Commit
from binderlet.providers.base import Log
from binderlet.providers.cache import LookupCache
from binderlet.providers.refs import check_ref
from binderlet.providers.repositories import Repositories, decode, owner_of

_SCP_LIKE: Final = re.compile(r"(?P<login>[\w.-]+@[\w.-]+):(?!//)/*(?P<path>.+)")
_DISPLAY: Final[Mapping[str, Any]] = {
    "displayName": "Git repository",
    "id": "git",
    "spec": {"validateRegex": "[^/]+/.+"},
    "repo": {
        "label": "Arbitrary git repository URL",
        "placeholder": "example: http://git.example.com/repo",
        "urlEncode": True,
    },
    "ref": {"enabled": True, "default": "HEAD"},
}


@dataclass(frozen=True, slots=True)
class GitSpec:
    """A spec taken apart."""

    quoted: str
    """The URL as it was given, percent-encoded."""
    url: str
    """The URL as git takes it, with its protocol."""
    ref: str


def parse(spec: str, allowed: Sequence[str], local_folders: Sequence[Path] = ()) -> GitSpec:
    """Take a spec apart; what is inside ``local_folders`` needs no allowed protocol.

    Raises:
        BadSpec: it has not the form, or its URL has a protocol that is not among the allowed.
    """
    quoted, _, ref = spec.partition("/")
    given = decode(quoted)
    if not given or not ref:
        mend = f' Did you mean "{quoted}/HEAD"?' if given else ""
        raise BadSpec(f'Spec is not of the form "url/ref", provided: "{spec}".{mend}')
    scp_like = _SCP_LIKE.fullmatch(given)
    url = f"ssh://{scp_like['login']}/{scp_like['path']}" if scp_like else given
    protocol, separator, _ = url.partition("://")
    if not separator or (protocol not in allowed and not is_inside(url, local_folders)):
        raise BadSpec(
            f"Unsupported git url {given}, protocol {protocol if separator else ''!r} not in {', '.join(allowed)}.",
            hint="Write the URL percent-encoded, with %2F for each slash in it.",
        )
    _check_place(url, protocol)
    name = decode(ref)
    check_ref(name)
    return GitSpec(quoted=quote(given, safe=""), url=url, ref=name)


def is_inside(url: str, folders: Sequence[Path]) -> bool:
    """Tell whether a ``file://`` URL names one of the folders, or a place in it, without any detour."""
    if not url.startswith("file:///"):
        return False
    path = unquote(url.removeprefix("file://"))
    return path == posixpath.normpath(path) and any(Path(path).is_relative_to(folder) for folder in folders)


def _check_place(url: str, protocol: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise BadSpec(f"{url} is not a URL: {error}.") from None
    if protocol == "file":
        if host or not parts.path.startswith("/"):
            raise BadSpec(f"{url} does not name a folder of this machine: three slashes must follow 'file:'.")
    elif not host or host.startswith("-") or not parts.path.strip("/"):
        raise BadSpec(f"{url} does not name a host and a repository.")


class GitProvider:
    """The ``git`` repo provider, as ``Provider`` says.

    ``mirrors`` is a folder of its own for the copies of repositories, ``size_limit`` the bytes of the largest checkout;
    of ``environment`` git gets the search path, proxies and certificates (``SSL_CERT_FILE``).
    """

    id = "git"
    event_name = "Git"
    display = _DISPLAY

    def __init__(
        self, settings: GitProviderSettings, *, mirrors: Path, size_limit: int, environment: Mapping[str, str]
    ) -> None:
        self._allowed = settings.allowed_protocols
        self._local_folders = settings.local_folders

        def repositories(protocols: Sequence[str]) -> Repositories:
            return Repositories(
                settings,
                protocols=protocols,
                mirrors=mirrors / self.id,
                size_limit=size_limit,
                environment=environment,
            )

        self._repositories = repositories(self._allowed)
        # Apart, because what git may fetch holds for submodules too: a foreign one must not name our disk.
        self._local = repositories([*self._allowed, "file"])
        self._commits: LookupCache[Commit] = LookupCache("git provider", settings.ref_cache)

    def check(self, spec: str) -> None:
        """As ``Provider.check``."""
        parse(spec, self._allowed, self._local_folders)

    async def resolve(self, spec: str) -> Commit:
        """As ``Provider.resolve``; short ids need a look at all commits, whole ids no I/O."""
        return await self._commits.get(spec, self._look_up)

    async def _look_up(self, spec: str) -> Commit:
        wanted = parse(spec, self._allowed, self._local_folders)
        sha = await self._of(wanted.url).resolve(wanted.url, wanted.ref)
        return Commit(
            provider=self.id,
            sha=sha,
            clone_url=wanted.url,
            repo_url=wanted.url,
            ref_url=wanted.url,
            resolved_spec=f"{wanted.quoted}/{sha}",
            slug=wanted.url,
            owner=owner_of(wanted.url),
        )

    def _of(self, url: str) -> Repositories:
        return self._local if is_inside(url, self._local_folders) else self._repositories

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """As ``Provider.fetch``."""
        await self._of(commit.clone_url).fetch(commit, destination, log)

    async def close(self) -> None:
        """As ``Provider.close``."""
        await self._commits.close()
