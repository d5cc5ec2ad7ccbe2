r"""A real git server (``git http-backend``, with LFS) on a free loopback port, and helpers to make repositories for it.

    with GitServer(folder) as server:
        sha = make_repository(folder / "owner" / "demo", {"requirements.txt": "six\\n"})
        server.url("owner/demo")

Needs nothing but git; synchronous, in threads of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.loopback import LoopbackServer, Request


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link among a repository's files."""

    target: str


@dataclass(frozen=True, slots=True)
class Program:
    """An executable file among a repository's files."""

    content: str


File = str | bytes | Link | Program
Files = Mapping[str, File]

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "LC_ALL": "C.UTF-8",
}


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """Run git in a folder and give back what it printed; an error fails the test with git's words."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments],
        env=_ENVIRONMENT,
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace").strip()


class Repository:
    """A repository with a work tree that tests add to."""

    def __init__(self, path: Path, *, branch: str = "main") -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "--quiet", f"--initial-branch={branch}")

    @property
    def head(self) -> str:
        """The whole id of the current commit."""
        return git(self.path, "rev-parse", "HEAD")

    def commit(self, files: Files, message: str = "Change") -> str:
        """Write the files, commit everything, and give back the commit's whole id."""
        for name, content in files.items():
            _write(self.path / name, content)
        git(self.path, "add", "--all", "--force")
        git(self.path, "commit", "--quiet", "--allow-empty", "-m", message)
        return self.head

    def branch(self, name: str, at: str = "HEAD") -> None:
        """Make or move a branch, without switching to it."""
        git(self.path, "branch", "--force", name, at)

    def tag(self, name: str, at: str = "HEAD", *, annotated: bool = False) -> None:
        """Make a tag."""
        git(self.path, "tag", *(("-a", "-m", name) if annotated else ()), name, at)

    def submodule(self, url: str, path: str) -> str:
        """Commit a submodule and give back the commit's whole id."""
        git(self.path, "submodule", "--quiet", "add", "--", url, path)
        return self.commit({}, f"Add {path}")


def make_repository(path: Path, files: Files, *, branch: str = "main") -> str:
    """Make a repository with one commit and give back the commit's whole id."""
    return Repository(path, branch=branch).commit(files, "First")


def make_large_repository(path: Path, count: int) -> str:
    """Make a repository with ``count`` small files in folders of 1,000, and give back the commit's whole id."""
    repository = Repository(path)
    git(path, "fast-import", "--quiet", stdin=b"".join(_fast_import(count)))
    return repository.head


def _fast_import(count: int) -> Iterator[bytes]:
    yield b"commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\ndata 5\nFirst\n"
    for number in range(count):
        content = b"%d\n" % number
        yield b"M 100644 inline d%d/f%d.txt\ndata %d\n%s\n" % (number // 1000, number, len(content), content)
    yield b"\n"


def _write(path: Path, content: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case Link(target):
            path.symlink_to(target)
        case Program(text):
            path.write_text(text)
            path.chmod(0o755)
        case str():
            path.write_text(content, encoding="utf-8")
        case bytes():
            path.write_bytes(content)


def lfs_pointer(content: bytes) -> str:
    """Write the pointer that stands for ``content`` in a repository with Git LFS."""
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


class GitServer(LoopbackServer):
    """Serves every repository below ``root`` by smart HTTP; ``owner/demo`` is ``root/owner/demo`` or ``….git``.

    Without ``protocol_v2``, ``any_sha`` says whether single commits that are no tips may be fetched; protocol
    version 2 always lets them. Without ``filters`` a client gets files though it asked for commits alone.
    """

    def __init__(self, root: Path, *, any_sha: bool = True, protocol_v2: bool = True, filters: bool = True) -> None:
        super().__init__()
        self._root = root
        self._any_sha = any_sha
        self._protocol_v2 = protocol_v2
        self._filters = filters
        self._backend = Path(git(Path("/"), "--exec-path")) / "git-http-backend"
        self._lock = threading.Lock()
        self._lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        """``METHOD path?query`` of each request so far."""
        self._private: set[str] = set()
        self.status = 200
        """Anything else is answered to every request."""
        self.delay = 0.0
        """Seconds before each answer."""

    def url(self, name: str) -> str:
        """Give the URL that clones a repository."""
        return f"{self.base}/{name}"

    def add_lfs(self, content: bytes) -> str:
        """Keep a file in the server's LFS store; returns its pointer."""
        self._lfs[hashlib.sha256(content).hexdigest()] = content
        return lfs_pointer(content)

    def remove(self, name: str) -> None:
        """Make a repository go away."""
        shutil.rmtree(self._root / name)

    @contextmanager
    def failing(self, status: int) -> Iterator[None]:
        """Answer every request with this status for a while."""
        self.status = status
        yield
        self.status = 200

    @contextmanager
    def asking_for_login(self, name: str) -> Iterator[None]:
        """Let nobody read a repository for a while."""
        self._private.add(name)
        yield
        self._private.remove(name)

    def answer(self, request: Request) -> None:
        """Answer from git, or as a broken server would."""
        with self._lock:
            self.requests.append(f"{request.command} {request.path}")
        time.sleep(self.delay)
        path, _, query = request.path.partition("?")
        body = request.body()
        if self.status != 200:
            request.reply(self.status, b"no")
        elif any(path.startswith(f"/{name}") for name in self._private):
            request.reply(401, b"who are you?", WWW_Authenticate='Basic realm="git"')
        elif path.endswith("/info/lfs/objects/batch"):
            request.reply(200, self._lfs_batch(body), Content_Type="application/vnd.git-lfs+json")
        elif path.startswith("/.lfs/"):
            request.reply(200, self._lfs[path.removeprefix("/.lfs/")])
        else:
            self._run_backend(request, path, query, body)

    def _lfs_batch(self, body: bytes) -> bytes:
        objects: list[dict[str, Any]] = []
        for asked in json.loads(body)["objects"]:
            if asked["oid"] in self._lfs:
                more: dict[str, Any] = {"actions": {"download": {"href": f"{self.base}/.lfs/{asked['oid']}"}}}
            else:
                more = {"error": {"code": 404, "message": "Object does not exist"}}
            objects.append({"oid": asked["oid"], "size": asked["size"], "authenticated": True, **more})
        return json.dumps({"transfer": "basic", "objects": objects}).encode()

    def _run_backend(self, request: Request, path: str, query: str, body: bytes) -> None:
        headers = request.headers
        environment = {
            **_ENVIRONMENT,
            **_configured(self._settings()),
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if self._protocol_v2:
            environment["GIT_PROTOCOL"] = headers.get("Git-Protocol", "")
        with subprocess.Popen(
            [self._backend],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as backend:
            assert backend.stdin is not None
            assert backend.stdout is not None
            backend.stdin.write(body)
            backend.stdin.close()
            answer_headers = dict(_cgi_headers(backend.stdout))
            status = int(answer_headers.pop("Status", "200 OK").split()[0])
            request.send_response(status)
            for name, value in answer_headers.items():
                request.send_header(name, value)
            request.send_header("Connection", "close")
            request.end_headers()
            request.close_connection = True
            shutil.copyfileobj(backend.stdout, request.wfile)

    def _settings(self) -> Iterable[tuple[str, str]]:
        yield "safe.directory", "*"
        yield "uploadpack.allowAnySHA1InWant", str(self._any_sha).lower()
        yield "uploadpack.allowFilter", str(self._filters).lower()


def _configured(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for number, (key, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        environment["GIT_CONFIG_COUNT"] = str(number + 1)
    return environment


def _cgi_headers(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.decode().strip().partition(": ")
        if not colon:
            return
        yield name, value
