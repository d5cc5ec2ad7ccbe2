"""Networks of sessions: the answers that real engines seldom give, and Podman's leftovers."""

from __future__ import annotations

import pytest

from binderlet.clients.docker import DockerClient
from binderlet.config.schema import EngineSettings
from binderlet.engine.docker_spec import container_name
from binderlet.engine.guard import Unheld
from binderlet.engine.networks import NetworkPerSession, SharedNetwork, networks_for
from binderlet.errors import ConfigError, EngineUnavailable, LaunchFailed
from support.scripted_engine import ScriptedEngine

GOOD = {"Driver": "bridge", "Options": {"com.docker.network.bridge.enable_icc": "false"}}
ABSENT = (404, {"message": "network binderlet not found"})
A, GONE = container_name("mine", "a"), container_name("mine", "gone")
BROKEN = (500, {"message": "it broke"})


@pytest.fixture
def shared(client: DockerClient) -> SharedNetwork:
    """Docker's network."""
    return SharedNetwork(client, EngineSettings(), Unheld())


@pytest.fixture
def single(client: DockerClient) -> NetworkPerSession:
    """Podman's networks."""
    return NetworkPerSession(client, "mine", Unheld())


def test_each_engine_has_its_means(client: DockerClient) -> None:
    """Docker shares one network, Podman has one for each session."""
    assert isinstance(networks_for(client, EngineSettings(), "mine"), SharedNetwork)
    client.product = "Podman"
    assert isinstance(networks_for(client, EngineSettings(), "mine"), NetworkPerSession)


async def test_absent_network_is_made(scripted: ScriptedEngine, shared: SharedNetwork) -> None:
    """The network is made once and looked at afterwards."""
    scripted.answer("GET networks/binderlet", ABSENT, (200, GOOD))
    scripted.answer("POST networks/create", (201, {"Id": "1"}))
    await shared.prepare()
    await shared.prepare()
    assert scripted.asked() == [
        "GET networks/binderlet",
        "POST networks/create",
        "GET networks/binderlet",
        "GET networks/binderlet",
    ]


async def test_another_was_faster(scripted: ScriptedEngine, shared: SharedNetwork) -> None:
    """A network that appears meanwhile is as good as our own."""
    scripted.answer("GET networks/binderlet", ABSENT, (200, GOOD))
    scripted.answer("POST networks/create", (409, {"message": "network with name binderlet already exists"}))
    await shared.prepare()


async def test_network_with_wrong_options_is_refused(scripted: ScriptedEngine, shared: SharedNetwork) -> None:
    """A network that lets sessions talk is never used; the error says how to mend it."""
    scripted.answer("GET networks/binderlet", (200, {"Driver": "bridge", "Options": {}}))
    with pytest.raises(ConfigError, match=r"^engine\.network: .*talk to each other") as caught:
        await shared.prepare()
    assert "docker network rm binderlet" in caught.value.hint


@pytest.mark.parametrize("call", ["GET networks/binderlet", "POST networks/create"])
async def test_engine_fails_at_the_network(scripted: ScriptedEngine, shared: SharedNetwork, call: str) -> None:
    """A failure of the engine is no answer about the network."""
    scripted.answer("GET networks/binderlet", ABSENT)
    scripted.answer("POST networks/create", BROKEN)
    scripted.answer(call, BROKEN)
    with pytest.raises(EngineUnavailable, match="it broke"):
        await shared.prepare()


async def test_shared_network_is_joined_and_left_without_a_call(
    scripted: ScriptedEngine, shared: SharedNetwork
) -> None:
    """A start on Docker spends no call on the network."""
    assert await shared.join("a") == "binderlet"
    await shared.leave("a")
    assert scripted.asked() == []


async def test_each_session_joins_its_own(scripted: ScriptedEngine, single: NetworkPerSession) -> None:
    """On Podman a network is made for a session and removed after it; a second removal finds nothing."""
    scripted.answer("POST networks/create", (201, {"Id": "1"}))
    scripted.answer(f"DELETE networks/{A}", (204, None), ABSENT)
    assert await single.join("a") == A
    await single.leave("a")
    await single.leave("a")
    assert scripted.asked() == ["POST networks/create", f"DELETE networks/{A}", f"DELETE networks/{A}"]


async def test_refusals_are_told(scripted: ScriptedEngine, single: NetworkPerSession) -> None:
    """A name that is taken refuses the launch; a removal that fails is not silent."""
    scripted.answer("POST networks/create", (409, {"message": "network already exists"}))
    scripted.answer(f"DELETE networks/{A}", BROKEN)
    with pytest.raises(LaunchFailed, match="already exists"):
        await single.join("a")
    with pytest.raises(EngineUnavailable, match="it broke"):
        await single.leave("a")


async def test_leftover_networks_are_removed(scripted: ScriptedEngine, single: NetworkPerSession) -> None:
    """Networks of sessions that are gone are removed; those of sessions that run or start are kept."""
    scripted.answer("POST networks/create", (201, {"Id": "1"}))
    scripted.answer(f"DELETE networks/{GONE}", (204, None))
    await single.join("starting")
    networks = [
        *(
            {"Name": container_name("mine", name), "Labels": {"binderlet.session": name}}
            for name in ("gone", "running", "starting")
        ),
        {"Name": "podman", "Labels": None},
    ]
    scripted.answer("GET networks", (200, networks))
    scripted.answer("GET containers/json", (200, [{"Labels": {"binderlet.session": "running"}}]))
    await single.prepare()
    assert [call for call in scripted.asked() if call.startswith("DELETE")] == [f"DELETE networks/{GONE}"]
