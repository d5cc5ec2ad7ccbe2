"""The git program, run for real."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from binderlet.clients.git import Git, _Lines, environment_for
from binderlet.errors import BadRepository, MissingProgram, ProviderUnavailable, RepositoryNotFound
from support.gitserver import GitServer, Repository

HTTP = ("http",)


@pytest.fixture
def git() -> Git:
    """Git as the service runs it."""
    return Git(protocols=HTTP, environment=os.environ)


def script(folder: Path, text: str) -> str:
    """Write a shell script that stands for git."""
    path = folder / "fake-git"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_environment_is_hardened() -> None:
    """Nothing of the account's own configuration and credentials reaches git; proxies and certificates do."""
    given = {
        "PATH": "/bin",
        "HOME": "/root",
        "GIT_DIR": "/x",
        "GIT_SSH_COMMAND": "",
        "SSH_AUTH_SOCK": "/agent",
        "AWS_SECRET_ACCESS_KEY": "s",
        "GIT_CONFIG_GLOBAL": "/root/.gitconfig",
        "GIT_ALLOW_PROTOCOL": "ext",
        "https_proxy": "http://proxy:1",
        "SSL_CERT_FILE": "/ca.pem",
    }
    made = environment_for(given, ("https", "ssh"))
    assert made["PATH"] == "/bin"
    assert made["https_proxy"] == "http://proxy:1"
    assert made["GIT_SSL_CAINFO"] == "/ca.pem"
    assert made["GIT_ALLOW_PROTOCOL"] == "https:ssh"
    assert made["GIT_TERMINAL_PROMPT"] == "0"
    assert made["HOME"] == "/nonexistent"
    assert Path(made["GIT_CONFIG_GLOBAL"]).is_file()
    assert "BatchMode=yes" in made["GIT_SSH_COMMAND"]
    assert not {"GIT_DIR", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY"} & set(made)


def test_environment_defaults() -> None:
    """An empty environment still has a search path, and an operator's ssh command is used."""
    assert environment_for({}, ())["PATH"]
    assert environment_for({"GIT_SSH_COMMAND": "ssh -i /key"}, ())["GIT_SSH_COMMAND"] == "ssh -i /key"


async def test_output(git: Git) -> None:
    """What git prints is given back."""
    assert (await git.run("version", about="x")).startswith(b"git version")


async def test_settings_reach_git(git: Git) -> None:
    """The hardening file is what git reads."""
    assert await git.run("config", "core.hooksPath", about="x") == b"/dev/null\n"


async def test_missing_program() -> None:
    """Where git is not installed the error says what to install."""
    with pytest.raises(MissingProgram) as caught:
        await Git(protocols=HTTP, environment={}, program="no-such-git").run("version", about="x")
    assert "apt-get install git" in caught.value.hint


async def test_unknown_failure(git: Git) -> None:
    """A failure nobody foresaw repeats git's words."""
    with pytest.raises(BadRepository, match="not a git repository"):
        await git.run("--git-dir=/nonexistent", "log", about="https://h/a")


async def test_progress_lines(tmp_path: Path) -> None:
    """Each line reaches the log as it comes; the states of a progress line at most once a second."""
    program = script(tmp_path, r"printf 'one\ncount 1%%\rcount 2%%\rcount 3%%\rdone\n\nlast' >&2")
    lines: list[str] = []
    await Git(protocols=HTTP, environment=os.environ, program=program).run(about="x", log=lines.append)
    assert lines == ["one", "count 1%", "done", "last"]


def test_long_words_are_cut() -> None:
    """A program that never ends its line does not fill the memory."""
    lines = _Lines(None)
    for _ in range(100):
        lines.feed(b"x" * 10_000)
    assert len(lines.kept) == len(lines._open) == 16384
    lines.end()


async def test_enough(tmp_path: Path) -> None:
    """A command whose output is enough is ended without an error."""
    program = script(tmp_path, "yes")
    seen = 0

    def enough(chunk: bytes) -> bool:
        nonlocal seen
        seen += len(chunk)
        return seen > 100_000

    assert await Git(protocols=HTTP, environment=os.environ, program=program).run(about="x", enough=enough) == b""
    assert seen > 100_000


async def test_cancelling_ends_all_processes(tmp_path: Path) -> None:
    """A cancelled command ends with its children, also when it ignores the polite signal."""
    pid_file = tmp_path / "pid"
    program = script(
        tmp_path,
        f"trap '' TERM\nsleep 60 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}\nwait; wait; sleep 60",
    )
    git = Git(protocols=HTTP, environment=os.environ, program=program)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await git.run(about="x")
    child = int(await asyncio.to_thread(pid_file.read_text))
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the child still runs")


async def test_list_refs(git: Git, tmp_path: Path) -> None:
    """Refs are listed by their exact names, tags with what they stand for."""
    repository = Repository(tmp_path / "r")
    sha = repository.commit({"a": "1"})
    repository.branch("a/main")
    repository.branch("refs/heads/main")
    repository.tag("v1", annotated=True)
    names = ("refs/heads/main", "refs/tags/v1", "refs/main", "HEAD")
    with GitServer(tmp_path) as server:
        narrow = await git.list_refs(server.url("r"), names, heads_and_tags=True)
        wide = await git.list_refs(server.url("r"), names, heads_and_tags=False)
    assert set(narrow) == {"refs/heads/main", "refs/tags/v1", "refs/tags/v1^{}"}
    assert narrow["refs/heads/main"] == narrow["refs/tags/v1^{}"] == sha
    assert wide == {**narrow, "HEAD": sha}


async def test_private(git: Git, tmp_path: Path) -> None:
    """A repository that asks for a login is as good as none, and nobody is asked for a password."""
    with GitServer(tmp_path) as server, server.asking_for_login("r"), pytest.raises(RepositoryNotFound):
        await git.list_refs(server.url("r"), ("HEAD",), heads_and_tags=False)


async def test_server_trouble(git: Git, tmp_path: Path) -> None:
    """A host in trouble is unavailable."""
    with GitServer(tmp_path) as server, server.failing(503), pytest.raises(ProviderUnavailable):
        await git.list_refs(server.url("r"), ("HEAD",), heads_and_tags=False)


async def test_protocols(git: Git, tmp_path: Path) -> None:
    """A protocol that is not allowed is refused, whatever the URL; local commands use the disk alone."""
    sha = Repository(tmp_path / "r").commit({"a": "1"})
    for url in (f"file://{tmp_path}/r", f"{tmp_path}/r", f"ext::sh -c 'touch% {tmp_path}/owned'"):
        with pytest.raises(BadRepository, match="not allowed"):
            await git.list_refs(url, ("HEAD",), heads_and_tags=False)
    assert not (tmp_path / "owned").exists()
    output = await git.run("ls-remote", "--", f"file://{tmp_path}/r", "HEAD", about="x", local=True)
    assert output.startswith(sha.encode())


async def test_urls_are_no_options(git: Git) -> None:
    """A URL that looks like an option is not one."""
    with pytest.raises((BadRepository, RepositoryNotFound)):
        await git.list_refs("--upload-pack=touch /tmp/owned", ("HEAD",), heads_and_tags=False)


async def test_lfs_installed(git: Git) -> None:
    """Whether git-lfs is there is found out by asking it."""
    assert await git.has_lfs()


async def test_lfs_absent(tmp_path: Path) -> None:
    """Without git-lfs git knows no such command."""
    (tmp_path / "git").symlink_to("/usr/bin/git")
    without = Git(
        protocols=HTTP,
        environment={"PATH": str(tmp_path)},
        program=script(tmp_path, "echo \"git: 'lfs' is not a git command\" >&2; exit 1"),
    )
    assert not await without.has_lfs()


async def test_cancelling_when_only_a_child_is_left(tmp_path: Path) -> None:
    """A child that outlives git and holds its output ends too."""
    program = script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await Git(protocols=HTTP, environment=os.environ, program=program).run(about="x")
    child = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


async def test_failing_log_ends_the_command(tmp_path: Path) -> None:
    """An error of the one who listens ends the command, and comes out as it is."""
    program = script(tmp_path, "echo hello >&2")

    def fail(line: str) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError, match="hello"):
        await Git(protocols=HTTP, environment=os.environ, program=program).run(about="x", log=fail)
