"""What the root helper may be asked for. Pure: a line in, a checked request out, or a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from binderlet.engine.egress import Rules

CONTAINER = re.compile(r"[0-9a-f]{64}")
MARK = re.compile(r"[a-z0-9-]{1,80}\.binderlet\.invalid")
DRIVER = re.compile(r"[a-z0-9-]{1,32}")
SUITE = re.compile(r"bookworm|trixie")
LINE = re.compile(r"deb https?://[A-Za-z0-9.:_~/@%+-]+ (bookworm|trixie)(-updates|-security)? main")
PROXY = re.compile(r"[A-Za-z0-9.:_~/@%+,*\[\]-]{0,2000}")
VARIABLES = {"http_proxy", "https_proxy", "no_proxy"}
MOST_LINES = 12
SERVICE = re.compile(r"[a-z][a-z0-9-]{0,30}")
BRIDGE = re.compile(r"[A-Za-z][0-9A-Za-z_.-]{0,14}|bl[0-9a-f]{4}[*]")
PORTS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?")
DESTINATION = re.compile(rf"[0-9a-f.:]{{1,45}}/[0-9]{{1,3}} ({PORTS.pattern}|all)")
MOST_RULES = 256


class Refused(Exception):
    """The request is none of those that there are; the message says why."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Push a container's memory out to swap."""

    container: str


@dataclass(frozen=True, slots=True)
class LimitBuilds:
    """Limit all build steps together."""

    memory: int
    """Bytes; 0 for no limit."""
    processes: int
    weight: int


@dataclass(frozen=True, slots=True)
class Tend:
    """Keep the steps of one build in their place until the other side hangs up; see ``builder.steps.Limits``."""

    mark: str
    share: int
    processes: int
    oom_score: int
    disk: int


@dataclass(frozen=True, slots=True)
class LayerSize:
    """Give the bytes of a layer in the engine's store."""

    driver: str
    chain: str


@dataclass(frozen=True, slots=True)
class System:
    """Write the Debian part of a base image to the file that came along."""

    suite: str
    lines: tuple[str, ...]
    """Of ``sources.list``: Debian's own archives from any mirror, whose signatures apt checks."""
    environment: Mapping[str, str]
    """Proxies."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Have these network rules in force for sessions."""

    rules: Rules


@dataclass(frozen=True, slots=True)
class Release:
    """Take a service's network rules away."""

    name: str


Request = Reclaim | LimitBuilds | Tend | LayerSize | System | Hold | Release


def parse(line: bytes) -> Request:
    """Read a request.

    Raises:
        Refused: it is none.
    """
    try:
        body = json.loads(line)
    except ValueError:
        raise Refused("it is not JSON") from None
    if not isinstance(body, dict):
        raise Refused("it is not an object")
    verb = body.pop("verb", None)
    reader = READERS.get(verb) if isinstance(verb, str) else None
    if reader is None:
        raise Refused("there is no such verb")
    fields = Fields(body)
    request = reader(fields)
    fields.end()
    return request


class Fields:
    """A request's fields, each taken once and checked."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    def text(self, name: str, form: re.Pattern[str]) -> str:
        """Take a text of that form."""
        return _formed(name, self._body.pop(name, None), form)

    def number(self, name: str, least: int, most: int) -> int:
        """Take a whole number within these bounds."""
        value = self._body.pop(name, None)
        if type(value) is not int or not least <= value <= most:
            raise Refused(f"{name} is no number from {least} to {most}")
        return value

    def texts(self, name: str, form: re.Pattern[str], most: int) -> tuple[str, ...]:
        """Take a list of texts of that form."""
        value = self._body.pop(name, None)
        if not isinstance(value, list) or len(value) > most:
            raise Refused(f"{name} is no list of at most {most}")
        return tuple(_formed(name, each, form) for each in value)

    def variables(self, name: str, allowed: set[str], form: re.Pattern[str]) -> dict[str, str]:
        """Take texts of that form by name."""
        value = self._body.pop(name, None)
        if not isinstance(value, dict) or not value.keys() <= allowed:
            raise Refused(f"{name} may hold {', '.join(sorted(allowed))} alone")
        return {key: _formed(key, each, form) for key, each in value.items()}

    def end(self) -> None:
        """Refuse what was not taken."""
        if self._body:
            raise Refused("there is more in it than the verb takes")


def _formed(name: str, value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise Refused(f"{name} has not the form {form.pattern}")
    return value


def _limit(fields: Fields) -> Request:
    return LimitBuilds(
        fields.number("memory", 0, 2**50), fields.number("processes", 64, 2**22), fields.number("weight", 1, 10000)
    )


def _tend(fields: Fields) -> Request:
    return Tend(
        fields.text("mark", MARK),
        fields.number("share", 2, 10000),
        fields.number("processes", 0, 2**22),
        fields.number("oom_score", 0, 1000),
        fields.number("disk", 0, 2**50),
    )


def _system(fields: Fields) -> Request:
    return System(
        fields.text("suite", SUITE),
        fields.texts("lines", LINE, MOST_LINES),
        fields.variables("environment", VARIABLES, PROXY),
    )


def _hold(fields: Fields) -> Request:
    allow = (each.split(" ") for each in fields.texts("allow", DESTINATION, MOST_RULES))
    return Hold(
        Rules(
            fields.text("name", SERVICE),
            fields.texts("bridges", BRIDGE, MOST_LINES),
            fields.texts("ports", PORTS, MOST_RULES),
            tuple((subnet, ports) for subnet, ports in allow),
            fields.texts("builds", BRIDGE, MOST_LINES),
        )
    )


READERS: Mapping[str, Callable[[Fields], Request]] = {
    "reclaim": lambda fields: Reclaim(fields.text("container", CONTAINER)),
    "limit": _limit,
    "tend": _tend,
    "layer-size": lambda fields: LayerSize(fields.text("driver", DRIVER), fields.text("chain", CONTAINER)),
    "system": _system,
    "egress": _hold,
    "egress-end": lambda fields: Release(fields.text("name", SERVICE)),
}
