"""The federation's settings: one TOML file, or the JSON file of mybinder.org's redirector as it is.

Both redirectors of one federation read the same file, so that they choose alike.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from binderlet.config.section import RegularExpression, Section, web_address
from binderlet.config.units import Duration
from binderlet.errors import ConfigError

JSON_CHECK = ("period", "jitter", "retries", "timeout", "failed_period")
JSON_HOST = ("url", "weight", "health", "versions", "prime")
MEMBER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def bare(value: str) -> str:
    """Check a URL and take its last slash away."""
    return web_address(value).rstrip("/")


def public(value: str) -> str:
    """Check the federation's own name: a host alone means https."""
    return bare(value if "://" in value or not value else f"https://{value}")


Url = Annotated[str, AfterValidator(bare)]
PublicUrl = Annotated[str, AfterValidator(public)]


class Balance(StrEnum):
    """How a member is chosen among those that may take a launch."""

    RENDEZVOUS = "rendezvous"
    """By the repository: it stays where its image is, and moves alone when its member does."""
    RANDOM = "random"


class Skew(StrEnum):
    """How far a member's ``/versions`` may be from the prime's."""

    SAME = "same"
    """Not at all: the whole answer must be equal."""
    KEYS = "keys"
    """Only ``versions.keys`` count."""
    ANY = "any"


class Member(Section):
    """One Binder that takes part."""

    url: Url = Field(min_length=1, description="Where it is, such as https://binder.example.org.")
    weight: float = Field(1.0, ge=0, description="Its share of the launches, relative to the others; 0: none.")
    prime: bool = Field(default=False, description="Whether pages come from it, and its /versions are the measure.")
    health: str = Field("", description="Where its health is. Empty: url and /health.")
    versions: str = Field("", description="Where its versions are. Empty: url and /versions.")
    drain: bool = Field(default=False, description="No new launches; sessions go on.")
    budget: int = Field(0, ge=0, description="Launches a calendar month at most. 0: no limit.")
    ramp_start: date | None = Field(None, description="Day (UTC) from which on the weight grows to its whole.")
    ramp_days: float = Field(7.0, gt=0, description="Days until the whole weight is reached.")
    ramp_first: float = Field(0.1, ge=0, le=1, description="Part of the weight that it has on the first day.")

    def ramp(self, now: float) -> float:
        """Give the part of the weight that the calendar allows, in seconds since the epoch; all where none is set."""
        if self.ramp_start is None:
            return 1.0
        begins = datetime.combine(self.ramp_start, time(), UTC)
        done = (datetime.fromtimestamp(now, UTC) - begins) / timedelta(days=self.ramp_days)
        return self.ramp_first + (1 - self.ramp_first) * min(1.0, done) if done >= 0 else 0.0

    @property
    def health_url(self) -> str:
        """Where its health is asked for."""
        return self.health or f"{self.url}/health"

    @property
    def versions_url(self) -> str:
        """Where its versions are asked for."""
        return self.versions or f"{self.url}/versions"


class CheckRules(Section):
    """How often members are asked, and when they count as gone."""

    period: Duration = Field(15.0, gt=0, description="Seconds between two probes of a member.")
    jitter: float = Field(0.05, ge=0, lt=1, description="Part of the period by which probes vary.")
    timeout: Duration = Field(5.0, gt=0, description="How long an answer may take.")
    confirm: Duration = Field(1.0, gt=0, description="Until the next probe after the first that failed.")
    retries: int = Field(5, ge=1, description="Failed probes in a row after which a member counts as gone.")
    failed_period: Duration = Field(90.0, gt=0, description="Seconds between two probes of a member that is gone.")
    rise: int = Field(2, ge=1, description="Good probes in a row that a member that was gone needs to come back.")


class Spread(Section):
    """What makes a member's share smaller for a while."""

    reserve: int = Field(10, ge=0, description="Places a member keeps back: with no more left it counts as full.")
    ease: float = Field(
        0.2, ge=0, le=1, description="A member with less than this part of its places free gets less, down to nothing."
    )
    slow_start: Duration = Field(600.0, ge=0, description="Time in which a member that came back gets its whole share.")
    images: bool = Field(default=True, description="Prefer a member that has the image already.")
    bound: float = Field(
        0.25,
        ge=0,
        description="How far over its fair share a member may be; beyond, others get what would be its own, so that "
        "one loved repository does not fill one member. 0.25: a quarter.",
    )


class VersionRules(Section):
    """Which members are alike enough."""

    rule: Skew = Field(Skew.KEYS, description="same, keys or any.")
    keys: list[str] = Field(["builder"], description="Keys of /versions that count, for the rule 'keys'.")
    accept: dict[str, list[RegularExpression]] = Field(
        {}, description="Values that are good whatever the prime has: {builder = ['quay.io/jupyterhub/.*']}."
    )


class Federation(Section):
    """The whole file."""

    url: PublicUrl = Field("", description="The name visitors type, such as https://mybinder.org. Empty: as asked.")
    load_balancer: Balance = Field(Balance.RENDEZVOUS, description="rendezvous or random.")
    cookie: Duration = Field(14400.0, ge=0, description="How long a visitor's repository stays where it was. 0: off.")
    badges: PublicUrl = Field("", description="Where badges are kept; empty: the prime's own are served.")
    replicas: int = Field(1, ge=1, description="Redirectors of this federation; each counts its part of a budget.")
    check: CheckRules = CheckRules()
    spread: Spread = Spread()
    versions: VersionRules = VersionRules()
    members: dict[str, Member] = Field(description="The members by name.")

    @model_validator(mode="after")
    def _has_a_prime(self) -> Federation:
        if not any(member.prime for member in self.members.values()):
            raise ValueError("no member is prime: pages must come from one of them; set prime = true")
        if len({member.url for member in self.members.values()}) != len(self.members):
            raise ValueError("two members have the same url")
        if not any(member.weight > 0 for member in self.members.values()):
            raise ValueError("every weight is 0: nobody would get a launch")
        wrong = [name for name in self.members if not MEMBER_NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no name: letters, digits, dots and hyphens, please")
        return self

    @property
    def primes(self) -> list[str]:
        """Names of the members that pages come from, the first choice first."""
        return [name for name, member in self.members.items() if member.prime]


def read(path: Path) -> Federation:
    """Read the file; one whose name ends in ``.json`` is mybinder.org's kind.

    Raises:
        ConfigError: it is missing, broken, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Federation:
    """Read the file's text.

    Raises:
        ConfigError: something in it is wrong.
    """
    try:
        body = from_json(json.loads(text)) if name.endswith(".json") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        kind = "mybinder's JSON" if name.endswith(".json") else "TOML"
        raise ConfigError(f"{name}: is not {kind}: {error}.", hint=HINT) from error
    try:
        return Federation.model_validate(body)
    except ValidationError as error:
        lines = "\n".join(sentence(detail["loc"], detail["msg"]) for detail in error.errors(include_url=False))
        raise ConfigError(f"{name}: {lines}", hint=HINT) from None


def sentence(place: Sequence[int | str], message: str) -> str:
    """Say what is wrong, and where."""
    said = message.removeprefix("Value error, ").replace("Extra inputs are not permitted", "there is no such key")
    where = ".".join(map(str, place))
    return f"{where}: {said}." if where else f"{said}."


HINT = "docs/how-to/run-a-federation.md shows a whole file."


def from_json(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings that mybinder.org's file means; keys that it has for others are left out.

    A host that is ``null`` was taken away by a later file of the same deployment.
    """
    check = dict(body.get("check") or {})
    found: dict[str, Any] = {
        "check": {key: check[key] for key in JSON_CHECK if key in check},
        "versions": {"rule": Skew.SAME},
        "members": {
            name: {key: host[key] for key in JSON_HOST if host.get(key) is not None}
            for name, host in body["hosts"].items()
            if host is not None
        },
        "badges": "https://static.mybinder.org",
    }
    if body.get("host"):
        found["url"] = body["host"]
    if body.get("load_balancer"):
        found["load_balancer"] = body["load_balancer"]
    if "pod_headroom" in body:
        found["spread"] = {"reserve": body["pod_headroom"]}
    if "host_cookie_age_hours" in body:
        found["cookie"] = float(body["host_cookie_age_hours"]) * 3600
    return found
