"""An OCI registry's API: being let in, answers that are none, and what is checked."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from binderlet.clients import oci
from binderlet.clients.oci import DOCKER_MANIFEST, OciClient, digest_of, error_of, scope_of
from binderlet.errors import BinderletError, ImageRejected, ImagesUnavailable, StorageFull, StorageRefused
from support.ports import free_ports

BODY = json.dumps({"schemaVersion": 2}).encode()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A registry of one manifest that wants a login of some kind."""

    def __init__(self) -> None:
        self.login = ""
        """``basic``, ``bearer`` or none."""
        self.answer: Handler | None = None
        self.tokens = 0
        self.expires_in = 300
        self.port = 0
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        self.seen.append(f"{request.method} {request.path_qs}")
        if request.path == "/token":
            self.tokens += 1
            if request.headers.get("Authorization") != _basic("me", "secret"):
                return web.Response(status=403, text="who are you?")
            return web.json_response({"access_token": f"t{self.tokens}", "expires_in": self.expires_in})
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(body=BODY, content_type=DOCKER_MANIFEST)

    def _refusal(self, request: web.Request) -> web.Response | None:
        said = request.headers.get("Authorization", "")
        if self.login == "basic" and said != _basic("me", "secret"):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if self.login == "bearer" and said != f"Bearer t{self.tokens}":
            challenge = f'Bearer realm="{self.url}token",service="reg"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return None


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One that listens."""
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = int(runner.addresses[0][1])
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[OciClient]:
    """One that may log in."""
    made = OciClient(server.url, username="me", password="secret")
    yield made
    await made.close()


def answering(status: int, text: str = "", headers: dict[str, str] | None = None) -> Handler:
    """Always answer so."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return answer


@pytest.mark.parametrize("login", ["", "basic", "bearer"])
async def test_let_in(server: Server, client: OciClient, login: str) -> None:
    """However a registry wants the credentials, it gets them, and a token is used until it ends."""
    server.login = login
    await client.ping()
    for _ in range(2):
        found = await client.manifest("a/b", "1")
        assert found is not None
        assert (found.digest, found.data["schemaVersion"]) == (digest_of(BODY), 2)
    assert server.tokens == {"": 0, "basic": 0, "bearer": 2}[login]  # one for the ping, one for the repository
    assert client.requests == len(server.seen)


async def test_tokens_end(server: Server, client: OciClient) -> None:
    """A token that ends soon is replaced before it does."""
    server.login, server.expires_in = "bearer", 1
    await client.manifest("a/b", "1")
    await client.manifest("a/b", "1")
    assert server.tokens == 2


async def test_wrong_credentials(server: Server) -> None:
    """Credentials that are not taken are said to be that, by the registry and by who gives its tokens."""
    for login in ("basic", "bearer"):
        server.login = login
        client = OciClient(server.url, username="me", password="wrong")
        with pytest.raises(StorageRefused):
            await client.ping()
        await client.close()
    server.login = "basic"
    nobody = OciClient(server.url)
    with pytest.raises(StorageRefused):
        await nobody.ping()
    await nobody.close()


async def test_missing_is_an_answer(server: Server, client: OciClient) -> None:
    """Only a clear 404 means that there is no such image, and removing it then is no error."""
    server.answer = answering(404)
    assert await client.manifest("a/b", "1") is None
    assert await client.tags("a/b") == []
    await client.delete_manifest("a/b", "sha256:0")


@pytest.mark.parametrize("status", [200, 429, 500, 502, 503])
async def test_nothing_else_is_missing(server: Server, client: OciClient, status: int) -> None:
    """Any other answer is an outage, whatever a registry means by it."""
    server.answer = answering(status if status != 200 else 418)
    with pytest.raises(ImagesUnavailable):
        await client.manifest("a/b", "1")


async def test_no_answer() -> None:
    """Nobody who listens is an outage, too."""
    client = OciClient(f"http://127.0.0.1:{free_ports(1)[0]}/")
    with pytest.raises(ImagesUnavailable, match="does not answer"):
        await client.ping()
    await client.close()
    await client.close()


async def test_digests_are_checked(server: Server, client: OciClient) -> None:
    """Bytes that are not those of their digest are rejected."""
    with pytest.raises(ImageRejected):
        await client.manifest("a/b", "sha256:" + "0" * 64)
    with pytest.raises(ImageRejected):
        await client.blob("a/b", "sha256:" + "0" * 64)
    server.answer = answering(200, "x", {"Docker-Content-Digest": "sha256:" + "0" * 64})
    with pytest.raises(ImageRejected):
        await client.manifest("a/b", "1")
    assert await client.blob("a/b", digest_of(b"x")) == b"x"


async def test_large_answers_are_refused(server: Server, client: OciClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest without end does not fill the memory."""
    monkeypatch.setattr(oci, "MANIFEST_LIMIT", 3)
    with pytest.raises(ImagesUnavailable, match="more than 3 bytes"):
        await client.manifest("a/b", "1")


async def test_blobs_are_sent_once(server: Server, client: OciClient) -> None:
    """A blob that is there is not sent; one that is not is, to where the registry says."""
    there: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(status=200 if there else 404)
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": "/v2/a/b/blobs/uploads/1?state=s"})
        assert "manifests" in request.path or digest_of(await request.read()) == request.query["digest"]
        there.add(request.query.get("state", ""))
        return web.Response(status=201)

    server.answer = answer
    assert await client.put_blob("a/b", b"x") == digest_of(b"x")
    assert there == {"s"}
    count = len(server.seen)
    await client.put_blob("a/b", b"x")
    assert len(server.seen) == count + 1
    assert await client.put_manifest("a/b", "1", b"{}") == digest_of(b"{}")


async def test_pages_of_tags(server: Server, client: OciClient) -> None:
    """Tags of several pages are given together."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query.get("last") == "1":
            return web.json_response({"tags": ["2"]})
        return web.json_response({"tags": ["1"]}, headers={"Link": '</v2/a/b/tags/list?last=1>; rel="next"'})

    server.answer = answer
    assert await client.tags("a/b") == ["1", "2"]


async def test_credentials_stay_at_home(server: Server, client: OciClient) -> None:
    """A call to another host goes without our credentials."""
    server.login = "basic"
    await client.ping()
    other = server.url.replace("127.0.0.1", "localhost")
    async with client.open("GET", f"{other}v2/") as answer:
        assert answer.status == 401


async def test_a_stream_is_not_sent_twice(server: Server, client: OciClient) -> None:
    """What is sent as a stream is sent once: a refusal is given back as it is."""
    server.login = "basic"

    async def stream() -> AsyncIterator[bytes]:
        yield b"x"

    async with client.open("PATCH", "v2/a/b/blobs/uploads/1", data=stream()) as answer:
        assert answer.status == 401


async def test_reasons(server: Server) -> None:
    """Where somebody knows more than a registry says, that is the error."""
    server.answer = answering(500)
    said = "QuotaExceeded: The bucket is full."
    client = OciClient(server.url, reason=lambda: said)
    with pytest.raises(StorageFull, match="bucket is full"):
        await client.ping()
    refused = StorageRefused("No.")
    assert await client.explained(refused) is refused
    said = ""
    with pytest.raises(ImagesUnavailable):
        await client.ping()
    await client.close()


async def test_on_a_socket(tmp_path: Path) -> None:
    """A registry may listen on a socket; closing a client that was never used does nothing."""
    client = OciClient("http://registry/", socket=tmp_path / "nobody.sock")
    await client.close()
    with pytest.raises(ImagesUnavailable):
        await client.ping()
    await client.close()


async def test_trust(tmp_path: Path) -> None:
    """A registry with TLS is believed only with a certificate of those that are trusted."""
    from support.certificates import self_signed  # noqa: PLC0415 - needs openssl

    certificate = self_signed(tmp_path)
    client = OciClient("https://localhost:1/", ca_bundle=certificate.certificate)
    assert client.host == "localhost:1"
    with pytest.raises(ImagesUnavailable):
        await client.ping()
    await client.close()


@pytest.mark.parametrize(
    ("method", "url", "scope"),
    [
        ("GET", "https://r.test/v2/", ""),
        ("GET", "https://r.test/v2/a/b/manifests/1", "repository:a/b:pull"),
        ("HEAD", "https://r.test/v2/a/blobs/sha256:1", "repository:a:pull"),
        ("POST", "https://r.test/v2/a/b/blobs/uploads/", "repository:a/b:pull,push"),
        ("DELETE", "https://r.test/v2/a/b/manifests/sha256:1", "repository:a/b:delete,pull"),
    ],
)
def test_scopes(method: str, url: str, scope: str) -> None:
    """A token is asked for what a call does, no more."""
    assert scope_of(method, url) == scope


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (507, "", StorageFull),
        (412, "adding 10 bytes would exceed the quota", StorageFull),
        (401, "", StorageRefused),
        (403, "denied", StorageRefused),
        (500, "s3aws: SignatureDoesNotMatch", StorageRefused),
        (500, "boom", ImagesUnavailable),
    ],
)
def test_errors(status: int, said: str, kind: type[BinderletError]) -> None:
    """Each answer is the error that says what to do."""
    assert type(error_of(status, "r.test", said)) is kind
