"""The client of clusters: errors, patience, tokens, pages and watches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from binderlet.clients import kubernetes as module
from binderlet.clients.kubernetes import KubernetesClient, KubernetesError, cluster_errors, translate
from binderlet.errors import BinderletError, ConfigError, EngineUnavailable, Full, LaunchFailed, NotFound
from support.kube_api import NAMESPACE, KubeApi, access_to, kube_api

PODS = f"api/v1/namespaces/{NAMESPACE}/pods"


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    """An API server of our own."""
    async with kube_api() as served:
        yield served


@pytest.fixture
async def client(api: KubeApi) -> AsyncIterator[KubernetesClient]:
    """A client of it."""
    opened = KubernetesClient(access_to(api))
    yield opened
    await opened.close()


def pod(name: str) -> dict[str, Any]:
    """Give a small pod."""
    return {"metadata": {"name": name}, "spec": {}, "status": {}}


@pytest.mark.parametrize(
    ("error", "ours", "said"),
    [
        (KubernetesError(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q, used: 3'), Full, "quota"),
        (KubernetesError(403, "Forbidden", 'User "x" cannot list resource'), EngineUnavailable, "cannot list"),
        (KubernetesError(403, "Forbidden", "violates PodSecurity"), LaunchFailed, "PodSecurity"),
        (KubernetesError(401, "Unauthorized", "Unauthorized"), EngineUnavailable, "does not let"),
        (KubernetesError(404, "NotFound", 'namespaces "x" not found'), EngineUnavailable, "lacks the namespace"),
        (KubernetesError(404, "NotFound", 'pods "x" not found'), NotFound, "no such thing"),
        (KubernetesError(422, "Invalid", "hostname: invalid"), LaunchFailed, "hostname"),
        (KubernetesError(429, "TooManyRequests", "later"), EngineUnavailable, "later"),
        (KubernetesError(410, "Expired", "too old"), EngineUnavailable, "too old"),
        (KubernetesError(500, "InternalError", "etcdserver: timeout"), EngineUnavailable, "etcdserver"),
        (KubernetesError(503, "ServiceUnavailable", ""), EngineUnavailable, "ServiceUnavailable"),
        (TimeoutError(), EngineUnavailable, "in time"),
        (ValueError("no JSON"), EngineUnavailable, "no sense"),
        (aiohttp.ClientError(), EngineUnavailable, "ClientError"),
        (OSError("refused"), EngineUnavailable, "refused"),
        (ConfigError("kept"), ConfigError, "kept"),
    ],
)
def test_errors_become_ours(error: Exception, ours: type[BinderletError], said: str) -> None:
    """Each foreign error is one of ours, which says what the cluster said."""
    found = translate(error)
    assert type(found) is ours
    assert said in found.message


def test_cause_is_kept() -> None:
    """The foreign error is the cause of ours."""
    with pytest.raises(EngineUnavailable) as caught, cluster_errors():
        raise OSError("refused")
    assert isinstance(caught.value.__cause__, OSError)


async def test_version(client: KubernetesClient) -> None:
    """The version has no v before it."""
    assert await client.version() == "1.31.4+k3s1"


async def test_something_else_answers(client: KubernetesClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no API server is told as such."""

    async def other(*_: object) -> bytes:
        return b"[]"

    monkeypatch.setattr(client, "_once", other)
    with pytest.raises(EngineUnavailable, match="no sense"):
        await client.version()


async def test_nobody_answers(api: KubeApi, client: KubernetesClient) -> None:
    """A server that is away is told as such."""
    await api.down()
    with pytest.raises(EngineUnavailable, match=r"does not answer at 127.0.0.1:\d+: "):
        await client.version()


async def test_asks_again_when_asked_for_patience(api: KubeApi, client: KubernetesClient) -> None:
    """A call that was refused as one too many is made again."""
    api.throttle = 2
    assert (await client.call("GET", PODS))["items"] == []
    assert (client.throttled, len(api.calls)) == (2, 3)


async def test_patience_ends(api: KubeApi, client: KubernetesClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time the refusal is the answer."""
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    api.throttle = 5
    with pytest.raises(KubernetesError, match="429"):
        await client.call("GET", PODS)


async def test_refusal_without_json(client: KubernetesClient) -> None:
    """An answer that a proxy gave still becomes an error with what it says."""
    with pytest.raises(KubernetesError) as caught:
        await client.read("elsewhere")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


async def test_token_file(api: KubeApi, tmp_path: Path) -> None:
    """A token comes from its file, and is read again once it is refused."""
    file = tmp_path / "token"
    file.write_text("old\n")
    client = KubernetesClient(access_to(api, token_file=file))
    api.token = "old"
    await client.version()
    api.token = "new"
    file.write_text("new\n")
    await client.version()
    api.token = "never"
    with pytest.raises(EngineUnavailable, match="does not let"):
        await client.version()
    await client.close()


async def test_fixed_token(api: KubeApi) -> None:
    """A token that stands in the kubeconfig file is used."""
    api.token = "fixed"
    client = KubernetesClient(access_to(api, token="fixed"))
    assert await client.version()
    await client.close()


async def test_pages(api: KubeApi, client: KubernetesClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read by pages; what ``make`` leaves out is not there."""
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        api.add(pod(f"p{number}"))

    def make(item: dict[str, Any]) -> str | None:
        name: str = item["metadata"]["name"]
        return None if name == "p3" else name

    found, version = await client.collect(PODS, make, params={})
    assert (found, version) == (["p0", "p1", "p2", "p4"], "105")
    assert len(api.calls) == 3


async def test_list_that_is_refused(api: KubeApi, client: KubernetesClient) -> None:
    """A refusal of the first page is an error."""
    api.forbidden = "pods"
    with pytest.raises(KubernetesError, match="403"):
        await client.collect(PODS, dict, params={})


async def test_watch(api: KubeApi, client: KubernetesClient) -> None:
    """A watch gives what changed after a version, and ends when the server ends it."""
    api.add(pod("a"))
    api.add(pod("b"))
    seen = []
    async for event in client.watch(PODS, params={}, since="101"):
        seen.append((event["type"], event["object"]["metadata"]["name"]))
        api.remove("a") if len(seen) == 1 else api.cut()
    assert seen == [("ADDED", "b"), ("DELETED", "a")]


async def test_watch_that_is_too_old(api: KubeApi, client: KubernetesClient) -> None:
    """An error inside a watch is raised with its own status."""
    api.compact()
    with pytest.raises(KubernetesError) as caught:
        _ = [event async for event in client.watch(PODS, params={}, since="1")]
    assert caught.value.status == 410


async def test_watch_left_early(api: KubeApi, client: KubernetesClient) -> None:
    """Who leaves a watch closes its connection."""
    api.add(pod("a"))
    watch = client.watch(PODS, params={}, since="100")
    await anext(watch)
    await watch.aclose()  # type: ignore[attr-defined]  # an async generator, whatever its declared type
    assert await client.version()


async def test_proxy_answers(client: KubernetesClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that is no JSON of the API is told in its own words."""
    monkeypatch.setattr("json.loads", _no_json)
    with pytest.raises(KubernetesError, match="could not find"):
        await client.read("elsewhere")


def _no_json(_text: object) -> None:
    raise ValueError("no JSON")


async def test_list_that_expires(api: KubeApi, client: KubernetesClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that became too old between two pages is read anew, in one answer."""
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(3):
        api.add(pod(f"p{number}"))
    api.expire_pages = True
    found, _ = await client.collect(PODS, lambda item: item["metadata"]["name"], params={})
    assert found == ["p0", "p1", "p2"]


async def test_name_in_the_certificate(api: KubeApi) -> None:
    """A server may have another name in its certificate than in its URL."""
    client = KubernetesClient(access_to(api, server_name="kubernetes"))
    assert await client.version()
    await client.close()


async def test_close_is_idempotent(client: KubernetesClient) -> None:
    """Closing twice is fine."""
    await client.close()
    await client.close()


async def test_a_guard_holds_back_changes(api: KubeApi, client: KubernetesClient) -> None:
    """What the guard refuses is not sent; reading is never asked of it."""

    def refuse() -> None:
        raise EngineUnavailable("Not me.")

    client.guard = refuse
    await client.call("GET", PODS)
    with pytest.raises(EngineUnavailable, match="Not me"):
        await client.call("POST", PODS, body=pod("x"))
    assert api.pods == {}
