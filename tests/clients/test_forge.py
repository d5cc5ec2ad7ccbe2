"""The forge's REST client against a replayed GitHub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from binderlet.clients.forge import Forge, _proxy_for
from binderlet.errors import BinderletError, ProviderUnavailable, RefNotFound, RepositoryNotFound
from support.forge_server import ForgeServer

SHA = "38e50c71130fcf56655685f0992f4f125bef3879"


@pytest.fixture
def server() -> Iterator[ForgeServer]:
    """A forge with one repository, and an empty one."""
    with ForgeServer({"o/r": {"HEAD": SHA, "feature/x": SHA, "v#1": SHA}, "o/empty": {}}) as made:
        yield made


@pytest.fixture
async def forge(server: ForgeServer) -> AsyncIterator[Forge]:
    """The client, with a clock that stands at the start of the server's hour."""
    made = Forge(server.base + "/", environment={}, seconds=5, clock=lambda: server.reset - 1500.0)
    yield made
    await made.close()


@pytest.mark.parametrize("ref", ["HEAD", "feature/x", "v#1"])
async def test_found(forge: Forge, ref: str) -> None:
    """A ref is answered with its commit, whatever characters it has."""
    assert await forge.commit("o", "r", ref) == SHA


async def test_unchanged_costs_no_quota(forge: Forge, server: ForgeServer) -> None:
    """The second time the server is asked whether it changed, and then what it changed to."""
    await forge.commit("o", "r", "HEAD")
    assert forge.quota_left == 59
    assert await forge.commit("o", "r", "HEAD") == SHA
    assert server.quota == 59
    server.repositories["o/r"]["HEAD"] = "b" * 40
    assert await forge.commit("o", "r", "HEAD") == "b" * 40


async def test_memory_is_bounded(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many answers are remembered, the latest used."""
    monkeypatch.setattr("binderlet.clients.forge._REMEMBERED", 1)
    await forge.commit("o", "r", "HEAD")
    await forge.commit("o", "r", "feature/x")
    assert list(forge._answers) == ["/repos/o/r/commits/feature/x"]


@pytest.mark.parametrize(
    ("name", "ref", "error"),
    [("nosuch", "HEAD", RepositoryNotFound), ("r", "nosuch", RefNotFound), ("empty", "HEAD", RefNotFound)],
)
async def test_not_found(forge: Forge, name: str, ref: str, error: type[BinderletError]) -> None:
    """A repository, a ref and a first commit that are not there are told apart."""
    with pytest.raises(error, match=f"o/{name}"):
        await forge.commit("o", name, ref)


async def test_quota(forge: Forge, server: ForgeServer) -> None:
    """A used up quota is said with the minutes to wait, and nothing more is asked until then."""
    server.quota = 0
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match=r"GitHub rate limit exceeded\. Try again in 25 minutes\."):
            await forge.commit("o", "r", "HEAD")
    assert len(server.requests) == 1
    assert forge.quota_left == 0


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (403, {"Retry-After": "60"}, "rate limit exceeded. Try again in 5 minutes"),
        (429, {"Retry-After": "600"}, "rate limit exceeded. Try again in 10 minutes"),
        (429, {}, "rate limit exceeded. Try again in 5 minutes"),
        (403, {"X-RateLimit-Remaining": "12"}, "status 403"),
        (401, {}, "refuses the token"),
        (502, {}, "status 502"),
        (304, {}, "status 304"),
        (200, {}, "names no commit"),
    ],
)
async def test_refusals(forge: Forge, server: ForgeServer, status: int, headers: dict[str, str], message: str) -> None:
    """Whatever else the API answers is unavailability, with the reason."""
    server.forced = (status, headers, b"{}" if status == 200 else b"")
    with pytest.raises(ProviderUnavailable, match=message):
        await forge.commit("o", "r", "HEAD")


@pytest.mark.parametrize("body", [b"<html>", b"[]", json.dumps({"sha": "x"}).encode(), json.dumps({"sha": 1}).encode()])
async def test_nonsense(forge: Forge, server: ForgeServer, body: bytes) -> None:
    """An answer without a commit id is not believed."""
    server.forced = (200, {}, body)
    with pytest.raises(ProviderUnavailable, match="names no commit"):
        await forge.commit("o", "r", "HEAD")


async def test_without_etag(forge: Forge, server: ForgeServer) -> None:
    """A forge without ETags works too."""
    server.forced = (200, {}, json.dumps({"sha": SHA.upper()}).encode())
    assert await forge.commit("o", "r", "HEAD") == SHA


async def test_token(server: ForgeServer) -> None:
    """The token is sent, and cannot be printed."""
    server.token = "s3cret"
    forge = Forge(server.base, token="s3cret", environment={})
    assert await forge.commit("o", "r", "HEAD") == SHA
    assert "s3cret" not in repr(forge)
    await forge.close()


async def test_host_away(forge: Forge, server: ForgeServer) -> None:
    """A host that is not there is unavailable."""
    server.close()
    with pytest.raises(ProviderUnavailable, match="does not answer"):
        await forge.commit("o", "r", "HEAD")


async def test_slow_host(server: ForgeServer) -> None:
    """A host that accepts and says nothing is given up on."""
    server.delay = 0.5
    forge = Forge(server.base, seconds=0.1, environment={})
    with pytest.raises(ProviderUnavailable, match=r"within 0\.1 s|imeout"):
        await forge.commit("o", "r", "HEAD")
    await forge.close()


async def test_missing_certificates(server: ForgeServer) -> None:
    """A certificate file that is not there is said, not crashed on."""
    forge = Forge(server.base, environment={"SSL_CERT_FILE": "/nonexistent.pem"})
    with pytest.raises(ProviderUnavailable, match="No such file"):
        await forge.commit("o", "r", "HEAD")


async def test_close_twice(forge: Forge) -> None:
    """Closing is idempotent, also after concurrent first requests shared one session."""
    await asyncio.gather(*(forge.commit("o", "r", "HEAD") for _ in range(3)))
    await forge.close()
    await forge.close()


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:2"}, "http://p:2"),
        ({"http_proxy": "http://p:3"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "example.com, github.com"}, None),
        ({"https_proxy": "http://p:1", "NO_PROXY": ".github.com"}, None),
        ({"https_proxy": "http://p:1", "NO_PROXY": "*"}, None),
        ({"https_proxy": "http://p:1", "NO_PROXY": "hub.com"}, "http://p:1"),
    ],
)
def test_proxy(environment: dict[str, str], proxy: str | None) -> None:
    """Proxies come from the environment given, with its exceptions."""
    assert _proxy_for("https://api.github.com", environment) == proxy
