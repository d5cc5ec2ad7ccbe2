"""The ``git`` repo provider: specs and values; ``test_contract.py`` has its work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from binderlet.config.providers import GitProviderSettings
from binderlet.errors import BadSpec
from binderlet.providers.git import GitProvider, GitSpec, is_inside, parse
from support.gitserver import GitServer, make_repository

ALLOWED = ("http", "https", "git", "ssh")
SHA = "ada2170a2181ae1760d85eab74e5264d0c6bb67f"
QUOTED = "https%3A%2F%2Fgithub.com%2Fjupyterhub%2Fzero-to-jupyterhub-k8s"
URL = "https://github.com/jupyterhub/zero-to-jupyterhub-k8s"
DISPLAY = json.loads(
    '{"displayName":"Git repository","id":"git","spec":{"validateRegex":"[^/]+/.+"},'
    '"repo":{"label":"Arbitrary git repository URL","placeholder":"example: http://git.example.com/repo",'
    '"urlEncode":true},"ref":{"enabled":true,"default":"HEAD"}}'
)


def make(tmp_path: Path, **settings: object) -> GitProvider:
    """A provider with these settings."""
    return GitProvider(
        GitProviderSettings.model_validate(settings), mirrors=tmp_path / "m", size_limit=10**8, environment=os.environ
    )


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (URL, URL),
        ("git@github.com:jupyterhub/binderhub", "ssh://git@github.com/jupyterhub/binderhub"),
        ("me@host.org:/srv/x", "ssh://me@host.org/srv/x"),
        ("ssh://git@host:2222/a/b", "ssh://git@host:2222/a/b"),
        ("git://host/a", "git://host/a"),
        ("https://host/~me/a%20b", "https://host/~me/a%20b"),
        ("https://host/r?x=1", "https://host/r?x=1"),
    ],
)
def test_urls(given: str, url: str) -> None:
    """URLs are taken as they are; the short ssh form becomes one."""
    quoted = quote(given, safe="")
    assert parse(f"{quoted}/a/b", ALLOWED) == GitSpec(quoted, url, "a/b")


@pytest.mark.parametrize(
    "given",
    [
        "ftp://host/a", "not a repo", "nothing", "ext::sh -c x", "ext::sh", "http::https://h/a", "file:///srv/a",
        "/srv/a",
        "https://", "https://host", "https://host/", "https:///a", "https://-oProxy/a", "https://host:port/a",
        "https://[::1/a", "https://h/a\nb", "HTTPS://h/a", "--upload-pack=x", "git@h:", "host:path",
    ],
)  # fmt: skip
def test_bad_urls(given: str) -> None:
    """What is no URL of an allowed protocol is refused."""
    with pytest.raises(BadSpec):
        parse(f"{quote(given, safe='')}/main", ALLOWED)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (QUOTED, f'Spec is not of the form "url/ref", provided: "{QUOTED}". Did you mean "{QUOTED}/HEAD"?'),
        ("ftp%3A%2F%2Fh%2Fa/main", "Unsupported git url ftp://h/a, protocol 'ftp' not in http, https, git, ssh."),
        ("https://h/a/main", "Unsupported git url https:, protocol '' not in http, https, git, ssh."),
    ],
)
def test_messages(spec: str, message: str) -> None:
    """The message says what was given and what is expected."""
    with pytest.raises(BadSpec) as caught:
        parse(spec, ALLOWED)
    assert caught.value.message == message


def test_unencoded_url_gets_a_hint() -> None:
    """A URL whose slashes are not encoded is told so."""
    with pytest.raises(BadSpec) as caught:
        parse("https://h/a/main", ALLOWED)
    assert "%2F" in caught.value.hint


@pytest.mark.parametrize("url", ["file://host/srv/a", "file://srv"])
def test_file_urls(url: str) -> None:
    """A file URL names this machine and a folder, where it is allowed at all."""
    assert parse("file%3A%2F%2F%2Fsrv%2Fa/main", ("file",)).url == "file:///srv/a"
    with pytest.raises(BadSpec, match="folder of this machine"):
        parse(f"{quote(url, safe='')}/main", ("file",))


async def test_values(tmp_path: Path) -> None:
    """A commit has BinderHub's slug, URLs and resolved spec, its encoding made uniform."""
    provider = make(tmp_path)
    for spec in (f"{QUOTED}/{SHA}", f"{QUOTED.replace('%3A', '%3a')}/{SHA.upper()}"):
        commit = await provider.resolve(spec)
        assert commit.provider == "git"
        assert commit.sha == SHA
        assert commit.clone_url == commit.repo_url == commit.ref_url == commit.slug == URL
        assert commit.resolved_spec == f"{QUOTED}/{SHA}"
        assert commit.owner == "github.com/jupyterhub"
    await provider.close()


async def test_ssh_values(tmp_path: Path) -> None:
    """The short ssh form is kept in the spec, and is a URL elsewhere."""
    provider = make(tmp_path)
    commit = await provider.resolve(f"git%40github.com%3Ajupyterhub%2Fbinderhub/{SHA}")
    assert commit.repo_url == "ssh://git@github.com/jupyterhub/binderhub"
    assert commit.resolved_spec == f"git%40github.com%3Ajupyterhub%2Fbinderhub/{SHA}"
    await provider.close()


def test_check(tmp_path: Path) -> None:
    """A spec is checked without I/O."""
    provider = make(tmp_path)
    provider.check(f"{QUOTED}/main")
    with pytest.raises(BadSpec):
        provider.check(QUOTED)


def test_display(tmp_path: Path) -> None:
    """The entry is BinderHub's, in its order."""
    assert json.dumps(dict(make(tmp_path).display)) == json.dumps(DISPLAY)
    assert make(tmp_path).event_name == "Git"


async def test_file_where_allowed(tmp_path: Path) -> None:
    """With ``file`` allowed a folder of this machine is a repository."""
    sha = make_repository(tmp_path / "r", {"f": "1"})
    provider = make(tmp_path, allowed_protocols=["file"])
    commit = await provider.resolve(f"{quote(f'file://{tmp_path}/r', safe='')}/main")
    assert commit.sha == sha
    await provider.fetch(commit, tmp_path / "out", print)
    assert (tmp_path / "out" / "f").exists()
    await provider.close()


async def test_answers_are_remembered(tmp_path: Path) -> None:
    """A ref is looked up once for many who ask within the time."""
    make_repository(tmp_path / "served" / "r", {"f": "1"})
    provider = make(tmp_path, ref_cache=60)
    with GitServer(tmp_path / "served") as server:
        for _ in range(5):
            await provider.resolve(f"{quote(server.url('r'), safe='')}/main")
        assert len([line for line in server.requests if "info/refs" in line]) == 1
    await provider.close()


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("file:///srv/own", True),
        ("file:///srv/own/repository", True),
        ("file:///srv/owner", False),
        ("file:///srv", False),
        ("file:///srv/own/../other", False),
        ("file:///srv/own/%2e%2e/other", False),
        ("file://host/srv/own", False),
        ("https://srv/own", False),
    ],
)
def test_local_folders(url: str, inside: bool) -> None:  # noqa: FBT001 - a table
    """Folders that may be launched are just these and what is in them, without a way out."""
    assert is_inside(url, [Path("/srv/own")]) is inside
    spec = f"{quote(url, safe='')}/HEAD"
    if inside:
        assert parse(spec, ["https"], [Path("/srv/own")]).url == url
    elif url.startswith("file"):
        with pytest.raises(BadSpec, match="protocol 'file' not in https"):
            parse(spec, ["https"], [Path("/srv/own")])


async def test_launching_from_a_local_folder(tmp_path: Path) -> None:
    """A repository in such a folder is found although file is no allowed protocol."""
    repository = tmp_path / "own" / "r"
    sha = make_repository(repository, {"a": "b"})
    provider = make(tmp_path, local_folders=[tmp_path / "own"])
    commit = await provider.resolve(f"{quote(f'file://{repository}', safe='')}/HEAD")
    assert commit.sha == sha
    await provider.fetch(commit, tmp_path / "checkout", lambda _line: None)
    assert (tmp_path / "checkout" / "a").exists()
    await provider.close()
