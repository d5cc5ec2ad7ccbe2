"""What was launched lately and what is reserved: the memory from which standbys are planned. No I/O.

A demand is one spec at one host: its newest launch says which commit and image the next one will have.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from binderlet.config.schema import StandbySettings
from binderlet.model import Commit, RepoSpec, known
from binderlet.sessions.habit import Habit, is_known, is_usual, noted
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.standby import WORTH, Demand, Reservation, decayed

LARGEST = 1000
"""Demands that are remembered; the least popular ones are forgotten first."""
FORGET = 0.05
"""A demand of a lower score is forgotten."""

Target = tuple[RepoSpec, str]
"""A spec and a host."""


@dataclass(slots=True)
class _Popular:
    order: SessionOrder
    key: str
    score: float
    at: float
    habit: Habit = field(default_factory=dict)


class Demands:
    """Counts launches and keeps reservations. ``key_of`` gives an order's key."""

    def __init__(self, settings: StandbySettings, key_of: Callable[[SessionOrder], str]) -> None:
        self._settings = settings
        self._key_of = key_of
        self._popular: dict[Target, _Popular] = {}
        self._reservations: dict[str, Reservation] = {}
        self._last_host = ""
        self._prepared: dict[str, tuple[SessionOrder, str]] = {}
        self._images: dict[str, str] = {}
        """Names of images by reservation; kept on disk, as what is prepared is not."""

    def note(self, order: SessionOrder, now: float) -> None:
        """Count a launch."""
        self._last_host = order.host
        target = (order.spec, order.host)
        plain = replace(order, launch_id="", client="")
        key = self._key_of(plain)
        if self._settings.enabled:
            before = self._popular.get(target)
            habit = noted(before.habit if before else {}, now)
            self._popular[target] = _Popular(plain, key, self._score(before, now) + 1, now, habit)
        for found in list(self._reservations.values()):
            if found.spec == order.spec and found.is_open(now, self._settings):
                self._reservations[found.id] = replace(found, launched=found.launched + 1)
                # Where no public URL is configured, visitors may use another host than was thought.
                self._prepared[found.id] = (plain, key)
                self._images[found.id] = plain.image

    def _score(self, popular: _Popular | None, now: float) -> float:
        return decayed(popular.score, now - popular.at, self._settings.half_life) if popular else 0.0

    def forget(self, key: str, problem: str) -> None:
        """Plan no standby of a kind that cannot be started, until its next launch."""
        for target, popular in list(self._popular.items()):
            if popular.key == key:
                del self._popular[target]
        for reservation_id, (_, prepared) in list(self._prepared.items()):
            if prepared == key:
                del self._prepared[reservation_id]
                self.fail(reservation_id, problem)

    def renew(self, key: str, image_id: str) -> None:
        """Plan with an image that was made again under its name: whoever launches next will have that one."""
        for popular in self._popular.values():
            if popular.key == key:
                popular.order = replace(popular.order, image_id=image_id)
                popular.key = self._key_of(popular.order)
        for reservation_id, (order, prepared) in self._prepared.items():
            if prepared == key:
                fresh = replace(order, image_id=image_id)
                self._prepared[reservation_id] = (fresh, self._key_of(fresh))

    def current(self, now: float) -> tuple[list[Demand], dict[str, SessionOrder]]:
        """Give what is wanted, and the order behind each key; forgets what nobody asked for in a long time."""
        self._reservations = {key: one for key, one in self._reservations.items() if now < one.ends}
        self._prepared = {key: one for key, one in self._prepared.items() if key in self._reservations}
        demands: dict[str, Demand] = {}
        orders: dict[str, SessionOrder] = {}
        for popular, score in self._remembered(now):
            if score >= FORGET:
                demands[popular.key] = Demand(popular.key, score)
                orders[popular.key] = popular.order
        for reservation_id, (order, key) in self._prepared.items():
            missing = self._reservations[reservation_id].missing(now, self._settings)
            before = demands.get(key, Demand(key))
            demands[key] = replace(before, reserved=before.reserved + missing)
            orders[key] = order
        return list(demands.values()), orders

    def _remembered(self, now: float) -> list[tuple[_Popular, float]]:
        """Give what is remembered with its score, the most popular first; forget the rest."""
        scores = {}
        for target, popular in self._popular.items():
            if self._score(popular, now) < FORGET:
                popular.score = 0.0  # what was forgotten does not come back where the clock is set back
            usual = is_usual(popular.habit, now, self._settings.lead)
            scores[target] = max(self._score(popular, now), WORTH if usual else 0.0)
        kept = [target for target in scores if scores[target] or is_known(self._popular[target].habit, now)]
        kept = sorted(kept, key=lambda target: -scores[target])[:LARGEST]
        self._popular = {target: self._popular[target] for target in kept}
        return [(self._popular[target], scores[target]) for target in kept]

    # Reservations.

    @property
    def reservations(self) -> Sequence[Reservation]:
        """Those that have not ended, in the order in which they begin."""
        return sorted(self._reservations.values(), key=lambda one: (one.begins, one.id))

    def reserve(self, spec: RepoSpec, host: str, count: int, begins: float, ends: float) -> Reservation:
        """Keep a new reservation."""
        made = Reservation(secrets.token_hex(4), spec, host, count, begins, ends)
        self._reservations[made.id] = made
        return made

    def host_of(self, reservation: Reservation) -> str:
        """Give the URL that its visitors will come to: where none is known for sure, that of the last launch."""
        return reservation.host or self._last_host

    def cancel(self, reservation_id: str) -> bool:
        """Drop a reservation; False where there is none of that id."""
        self._prepared.pop(reservation_id, None)
        return self._reservations.pop(reservation_id, None) is not None

    def prepared(self, reservation_id: str, order: SessionOrder) -> None:
        """Take what sessions of a reservation are started from."""
        if reservation_id in self._reservations:
            plain = replace(order, launch_id="", client="")
            self._prepared[reservation_id] = (plain, self._key_of(plain))
            self._images[reservation_id] = plain.image
            self._reservations[reservation_id] = replace(self._reservations[reservation_id], problem="")

    def fail(self, reservation_id: str, problem: str) -> None:
        """Take why nothing can be started for a reservation."""
        if reservation_id in self._reservations:
            self._reservations[reservation_id] = replace(self._reservations[reservation_id], problem=problem)

    def ready_for(self, reservation: Reservation, spares: Mapping[str, int]) -> int:
        """Give how many of the standbys, counted by key, a reservation has."""
        prepared = self._prepared.get(reservation.id)
        return min(reservation.count, spares.get(prepared[1], 0)) if prepared else 0

    def reserved_images(self) -> set[str]:
        """Give the names of the images that reservations need."""
        return {image for reservation_id, image in self._images.items() if reservation_id in self._reservations}

    # On disk.

    def as_json(self) -> dict[str, Any]:
        """Give all of it for a file."""
        return {
            "host": self._last_host,
            "popular": [
                {
                    "order": asdict(popular.order),
                    "score": popular.score,
                    "at": popular.at,
                    "habit": [[hour, *seen] for hour, seen in popular.habit.items()],
                }
                for popular in self._popular.values()
            ],
            "reservations": [asdict(reservation) for reservation in self._reservations.values()],
            "images": {key: image for key, image in self._images.items() if key in self._reservations},
        }

    def load(self, kept: Mapping[str, Any]) -> None:
        """Take what ``as_json`` gave.

        Raises:
            KeyError: something is missing.
            TypeError: something has the wrong form.
        """
        self._last_host = str(kept["host"])
        for entry in kept["popular"] if self._settings.enabled else ():
            order = _order(entry["order"])
            habit = {int(hour): (float(count), float(at)) for hour, count, at in entry.get("habit", ())}
            popular = _Popular(order, self._key_of(order), float(entry["score"]), float(entry["at"]), habit)
            self._popular[order.spec, order.host] = popular
        for entry in kept["reservations"]:
            made = Reservation(**{**known(Reservation, entry), "spec": _spec(entry), "problem": ""})
            self._reservations[made.id] = made
        self._images = dict(kept.get("images", {}))


def _order(kept: Mapping[str, Any]) -> SessionOrder:
    commit = Commit(**known(Commit, kept["commit"]))
    return SessionOrder(**{**known(SessionOrder, kept), "spec": _spec(kept), "commit": commit})


def _spec(kept: Mapping[str, Any]) -> RepoSpec:
    return RepoSpec(**known(RepoSpec, kept["spec"]))
