"""What control plane and builder pod say to each other (pure).

To the pod go frames, four bytes of length and then so many bytes: the request, the checkout as a tar archive in pieces,
an empty frame at its end, and ``CANCEL`` where the build is to end. An end of input without it means that the
connection was lost or the control plane ended: the build goes on. From the pod come lines of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from binderlet.builder.keys import BUILDER_VERSION
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BinderletError, BuildFailed, Refused
from binderlet.events.restored import restored
from binderlet.images.shelf import Shelf
from binderlet.model import Commit, Image, Phase

PIECE = 2**18
"""Bytes of one piece of an archive."""
CANCEL = b"cancel"
ALIVE = {"alive": True}
ALIVE_EVERY = 10.0
"""Seconds between two signs of life of a pod that builds in silence."""
NETWORK_FIELDS = ("http_proxy", "https_proxy", "no_proxy", "index_url", "conda_mirror")


@dataclass(frozen=True, slots=True)
class Order:
    """What a builder pod is to do."""

    verb: Literal["build", "prepare"]
    settings: BuilderSettings
    network: NetworkEnvironment
    """Its bundle of certificates is a path that means nothing to others: ``certificates`` counts."""
    certificates: tuple[str, ...]
    """PEM; to be trusted besides Debian's."""
    shelf: Shelf
    commit: Commit | None = None
    image: str = ""
    lock: Mapping[str, Any] | None = None
    refresh: bool = False
    seen: int = 0
    """Lines of its log that have been told already; 0 for a build that begins."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log."""

    text: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Built:
    """The image is in the registry."""

    image: Image | None
    """None where there was nothing to build but the base."""
    bases: Mapping[str, str]
    """The ids of the base images in use, by Python."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The build ended badly."""

    error: BinderletError


@dataclass(frozen=True, slots=True)
class Busy:
    """The pod builds something else, for another control plane or one that has ended."""


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing happened."""


@dataclass(frozen=True, slots=True)
class Anew:
    """The pod does not have what was told of this build: its lines are counted from the first again."""


@dataclass(frozen=True, slots=True)
class Stray:
    """What a program said that is no message; it explains what went wrong."""

    text: str


Message = Line | Built | Failed | Busy | Alive | Anew | Stray


def frame(body: bytes) -> bytes:
    """Put the length before a message."""
    return len(body).to_bytes(4, "big") + body


def encode_order(order: Order) -> bytes:
    """Write an order; it holds passwords."""
    network = order.network
    body = {
        "version": BUILDER_VERSION,
        "verb": order.verb,
        "settings": order.settings.model_dump(mode="json"),
        "network": {name: getattr(network, name) for name in NETWORK_FIELDS}
        | {"extra_index_urls": list(network.extra_index_urls), "passed_on": dict(network.passed_on)},
        "certificates": list(order.certificates),
        "shelf": asdict(order.shelf),
        "commit": asdict(order.commit) if order.commit else None,
        "image": order.image,
        "lock": order.lock,
        "refresh": order.refresh,
        "seen": order.seen,
    }
    return json.dumps(body).encode()


def decode_order(body: bytes) -> Order:
    """Read an order.

    Raises:
        BuildFailed: it comes from another version of binderlet, whose images would differ.
    """
    data = json.loads(body)
    if data["version"] != BUILDER_VERSION:
        raise BuildFailed(
            f"The control plane's builder is version {data['version']}, the builder pods' is {BUILDER_VERSION}.",
            hint="Make the builder image anew with this version of binderlet, and upgrade the chart with it.",
        )
    network = data["network"]
    return Order(
        verb=data["verb"],
        settings=BuilderSettings(**data["settings"]),
        network=NetworkEnvironment(
            **{**network, "extra_index_urls": tuple(network["extra_index_urls"])},
        ),
        certificates=tuple(data["certificates"]),
        shelf=Shelf(**data["shelf"]),
        commit=Commit(**data["commit"]) if data["commit"] else None,
        image=data["image"],
        lock=data["lock"],
        refresh=data["refresh"],
        seen=data["seen"],
    )


def encode(message: Message) -> bytes:
    """Write a message of the pod as one line."""
    body: Mapping[str, Any]
    match message:
        case Line():
            body = {"line": message.text, "phase": str(message.phase)}
        case Built():
            body = {"built": asdict(message.image) if message.image else None, "bases": dict(message.bases)}
        case Failed():
            error = message.error
            after = error.retry_after if isinstance(error, Refused) else None
            body = {"error": error.code, "message": error.message, "hint": error.hint, "retry_after": after}
        case Busy():
            body = {"busy": True}
        case Anew():
            body = {"anew": True}
        case Stray():
            return message.text.encode() + b"\n"
        case _:
            body = ALIVE
    return json.dumps(body).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read a line of the pod."""
    try:
        body = json.loads(line)
        if "line" in body:
            return Line(str(body["line"]), Phase(body["phase"]))
        if "built" in body:
            return Built(Image(**body["built"]) if body["built"] else None, dict(body["bases"]))
        if "error" in body:
            return Failed(_error(body))
        if "anew" in body:
            return Anew()
        return Busy() if body.get("busy") else Alive()
    except (ValueError, TypeError, KeyError, AttributeError):
        return Stray(line.decode("utf-8", "replace"))


def _error(body: Mapping[str, Any]) -> BinderletError:
    error = restored(str(body["error"]), str(body["message"]), str(body["hint"]))
    if isinstance(error, Refused):
        error.retry_after = body.get("retry_after")
    return error
