"""What control plane and builder pod say to each other."""

from __future__ import annotations

import json

import pytest

from binderlet.builder.cluster.messages import (
    Alive,
    Anew,
    Built,
    Busy,
    Failed,
    Line,
    Message,
    Order,
    Stray,
    decode,
    decode_order,
    encode,
    encode_order,
    frame,
)
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository, BuildFailed, DiskFull
from binderlet.images.shelf import Shelf
from binderlet.model import Image, Phase
from support.values import COMMIT

NETWORK = NetworkEnvironment(
    https_proxy="http://user:secret@proxy:3128",
    no_proxy="a.example",
    index_url="https://index/",
    extra_index_urls=("https://more/",),
    passed_on={"PIP_RETRIES": "3"},
)
SHELF = Shelf("registry:5000", "localhost:5000", "binder/", "user", "secret", is_plain=True)


@pytest.mark.parametrize(
    "order",
    [
        Order("prepare", BuilderSettings(), NetworkEnvironment(), (), SHELF),
        Order(
            "build",
            BuilderSettings(timeout=7, base_image="x", conda_channels=["a"]),
            NETWORK,
            ("PEM",),
            SHELF,
            COMMIT,
            "localhost:5000/binder/i-x:1",
            {"format": 1},
            refresh=True,
            seen=3,
        ),
    ],
)
def test_order_there_and_back(order: Order) -> None:
    """A pod reads what the control plane wrote."""
    assert decode_order(encode_order(order)) == order


def test_order_of_another_version() -> None:
    """An image that differs from what the control plane would build is not built."""
    body = json.loads(encode_order(Order("prepare", BuilderSettings(), NETWORK, (), SHELF))) | {"version": "0"}
    with pytest.raises(BuildFailed, match="version 0") as caught:
        decode_order(json.dumps(body).encode())
    assert "builder image" in caught.value.hint


def test_order_does_not_show_passwords() -> None:
    """What may end in a log has none."""
    assert "secret" not in repr(Order("prepare", BuilderSettings(), NETWORK, (), SHELF))


@pytest.mark.parametrize(
    "message",
    [
        Line("words", Phase.FETCHING),
        Built(Image("a:b", "sha256:1", 3, {"k": "v"}), {"3.11": "sha256:2"}),
        Built(None, {}),
        Busy(),
        Alive(),
        Anew(),
        Stray("words"),
    ],
)
def test_message_there_and_back(message: Message) -> None:
    """The control plane reads what a pod wrote, a line each."""
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == message


def test_errors_keep_their_kind() -> None:
    """An error of the build is the same error here, and a refusal still says when to come back."""
    found = decode(encode(Failed(BadRepository("apt.txt, line 2: no", hint="mend it"))))
    assert isinstance(found, Failed)
    assert isinstance(found.error, BadRepository)
    assert (found.error.message, found.error.hint) == ("apt.txt, line 2: no", "mend it")
    full = decode(encode(Failed(DiskFull("full", retry_after=600))))
    assert isinstance(full, Failed)
    assert isinstance(full.error, DiskFull)
    assert full.error.retry_after == 600


@pytest.mark.parametrize("line", [b"Traceback:", b"[1]", b'{"line": "x"}', b'{"built": 3, "bases": {}}', b"\xff"])
def test_anything_else_is_shown(line: bytes) -> None:
    """What a program says that is no message is shown."""
    assert decode(line) == Stray(line.decode("utf-8", "replace"))


def test_frame() -> None:
    """Length first."""
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert frame(b"") == b"\0\0\0\0"
