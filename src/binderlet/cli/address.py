"""What people paste, as a repo provider and its spec: repository URLs, specs, folders of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from binderlet.errors import BadSpec
from binderlet.model import RepoSpec

SCP_FORM = re.compile(r"^(?:[\w.-]+@)?[\w.-]+:(?!//)\S+$")
"""``git@github.com:owner/repo.git``"""
SCHEMES = frozenset({"http", "https", "git", "ssh", "file"})
HEAD = "HEAD"


@dataclass(frozen=True, slots=True)
class Address:
    """What to launch, and what to open in it."""

    spec: RepoSpec
    path: str = ""
    """A file of the repository; empty for JupyterLab's own start page."""


def parse_address(
    text: str,
    *,
    ref: str = "",
    provider: str = "",
    github: str = "github.com",
    file_allowed: bool = False,
    folders: Sequence[Path] = (),
    is_folder: Callable[[Path], bool] = Path.is_dir,
) -> Address:
    """Read what was typed; ``github`` is the host that the ``gh`` provider serves, empty where it is off.

    ``folders`` may be launched, and what is in them, and with ``file_allowed`` any folder.

    Raises:
        BadSpec: it names no repository, or a folder where folders are not allowed.
    """
    text = text.strip()
    if provider:
        return Address(RepoSpec(provider, text if not ref else f"{text.rstrip('/')}/{ref}"))
    parts = urlsplit(text)
    if parts.scheme in SCHEMES and "//" in text:
        if parts.scheme == "file" and not (file_allowed or _is_inside(Path(unquote(parts.path)), folders)):
            raise _no_folders(text)
        return _from_url(text, ref, github)
    if SCP_FORM.match(text):
        return _git(text, ref)
    if text.startswith((".", "/", "~")):
        folder = _folder(text, is_folder)
        if not (file_allowed or _is_inside(folder, folders)):
            raise _no_folders(text)
        return folder_address(folder, ref)
    return _from_spec(text, ref)


def _from_url(text: str, ref: str, github: str) -> Address:
    parts = urlsplit(text)
    if github and (parts.hostname or "") in {github, f"www.{github}"} and parts.scheme in {"http", "https"}:
        return _from_github(parts.path, ref, text)
    return _git(text, ref)


def _from_github(path: str, ref: str, text: str) -> Address:
    owner, repository, kind, rest, *_ = [*path.strip("/").split("/", 3), "", "", "", ""]
    if not owner or not repository:
        raise BadSpec(f"{text} does not name a repository.", hint="It should look like https://github.com/owner/repo")
    repository = repository.removesuffix(".git")
    file = ""
    if kind in {"tree", "blob", "commit"} and rest:
        rest = unquote(rest)
        if ref and rest.startswith(f"{ref}/"):
            file = rest.removeprefix(f"{ref}/")
        elif kind == "blob" and not ref:
            ref, _, file = rest.partition("/")  # a branch with a slash needs --ref
        ref = ref or rest
    return Address(RepoSpec("gh", f"{owner}/{repository}/{quote(ref or HEAD, safe='/')}"), file)


def _folder(text: str, is_folder: Callable[[Path], bool]) -> Path:
    folder = Path(text).expanduser().resolve()
    if not is_folder(folder):
        raise BadSpec(
            f"{folder} is not a folder of this machine.", hint="Give a repository's URL, or an existing folder."
        )
    return folder


def _is_inside(folder: Path, folders: Sequence[Path]) -> bool:
    """Tell whether it is one of these folders or in one; the service itself looks for detours."""
    return any(folder.is_relative_to(each) for each in folders)


def folder_address(folder: Path, ref: str = "") -> Address:
    """Give the address of a repository in a folder of this machine, whether or not folders are allowed."""
    return _git(f"file://{quote(str(folder))}", ref)


def _no_folders(text: str) -> BadSpec:
    return BadSpec(
        f"{text} is a folder of this machine, and those may not be launched.",
        hint="Add it to providers.git.local_folders: then everyone who can reach the service may launch it.",
    )


def _from_spec(text: str, ref: str) -> Address:
    provider, _, spec = text.strip("/").partition("/")
    if not re.fullmatch(r"[a-z][a-z0-9]*", provider) or not spec:
        raise BadSpec(f"{text} does not name a repository.", hint="Give its URL, or a spec such as gh/owner/repo/HEAD.")
    if provider == "gh":
        owner, repository, given, *_ = [*spec.split("/", 2), "", ""]
        if not repository:
            raise BadSpec(f"{text} does not name a repository.", hint="It should look like gh/owner/repo/ref.")
        return Address(RepoSpec("gh", f"{owner}/{repository}/{ref or given or HEAD}"))
    return Address(RepoSpec(provider, f"{spec}/{ref}" if ref else spec))


def _git(url: str, ref: str) -> Address:
    return Address(RepoSpec("git", f"{quote(url, safe='')}/{quote(ref or HEAD, safe='/')}"))
