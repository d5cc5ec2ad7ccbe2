"""Programs in pods, by the protocol that an API server speaks."""

from __future__ import annotations

import pytest

from binderlet.clients.kubernetes import KubernetesError
from binderlet.clients.kubernetes_exec import LAST_WORDS, NOT_STARTED, ended, execute
from binderlet.errors import EngineUnavailable
from support.builder_pods import Conversation, builder_pods
from support.eventually import eventually

POD = "api/v1/namespaces/builds/pods/b-0"


async def test_input_output_and_code() -> None:
    """What is sent arrives as it is; what is printed comes back, the last of the errors, and the exit code."""
    seen: list[object] = []

    async def program(it: Conversation) -> None:
        seen.append((it.command, await it.frame()))
        await it.complain("x" * LAST_WORDS)
        await it.complain("last words")
        await it.say(b"one\n", b"", b"two\n")
        await it.end(3)

    async with (
        builder_pods(program) as (_, client),
        execute(client, POD, ("a program", "-x"), container="c") as running,
    ):
        await running.send(b"\0\0\0\2ab")
        assert [data async for data in running.output(5)] == [b"one\n", b"two\n"]
        assert running.code == 3
        assert running.reason == "command terminated with exit code 3"
        assert running.words.endswith("last words")
        assert len(running.words) == LAST_WORDS
        with pytest.raises(EngineUnavailable):
            await running.send(b"too late")
    assert seen == [(["a program", "-x"], b"ab")]


async def test_silence_is_a_loss() -> None:
    """A program that says nothing for too long gives no code: its connection may be dead."""

    async def program(it: Conversation) -> None:
        await it.frame()

    async with builder_pods(program) as (_, client), execute(client, POD, ("x",), container="c") as running:
        assert [data async for data in running.output(0.05)] == []
        assert running.code is None


async def test_closed_by_us() -> None:
    """Closing ends the program's input, and what waits for its output."""
    ends: list[str] = []

    async def program(it: Conversation) -> None:
        await it.say(b"begun\n")
        try:
            await it.frame()
        finally:
            ends.append("input")

    async with builder_pods(program) as (_, client), execute(client, POD, ("x",), container="c") as running:
        async for data in running.output(5):
            assert data == b"begun\n"
            await running.close()
        assert running.code is None
        await eventually(lambda: ends == ["input"])


async def test_refused() -> None:
    """A pod that is gone, or a right that is lacking, is an error with its status."""

    async def program(it: Conversation) -> None:
        """Never run."""

    async with builder_pods(program) as (pods, client):
        pods.refuse = 403
        with pytest.raises(KubernetesError) as caught:
            async with execute(client, POD, ("x",), container="c"):
                pass
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (b'{"status": "Success"}', (0, "")),
        (b'{"status": "Failure", "message": "no such container"}', (NOT_STARTED, "no such container")),
        (b'{"status": "Failure", "reason": "InternalError"}', (NOT_STARTED, "InternalError")),
        (b"[]", (NOT_STARTED, "[]")),
        (b"broken", (NOT_STARTED, "broken")),
    ],
)
def test_ended(status: bytes, found: tuple[int, str]) -> None:
    """An end without an exit code is one of the cluster, in its words."""
    assert ended(status) == found
