"""What is done ahead of launches at an operator's wish: reservations, and the images that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from binderlet.errors import BadSpec, LaunchFailed, Refused, UnknownProvider
from binderlet.launch.book import LaunchBook
from binderlet.launch.request import LaunchRequest
from binderlet.model import Phase, RepoSpec
from binderlet.providers.base import Provider
from binderlet.sessions.order import SessionOrder
from binderlet.sessions.standby import Reservation


class ReservationKeeper(Protocol):
    """What is needed of ``sessions.reservations.Reservations``."""

    async def add(self, spec: RepoSpec, host: str, count: int, begins: float, ends: float) -> Reservation:
        """Keep a new one."""

    async def cancel(self, reservation_id: str) -> None:
        """Drop one."""


class Reserved(Protocol):
    """What is needed of ``sessions.pool.Pool``."""

    @property
    def reservations(self) -> ReservationKeeper:
        """Who keeps them."""

    def reserved(self) -> Sequence[tuple[Reservation, int]]:
        """Give them, each with how many standbys are ready for it."""


async def prepare(book: LaunchBook, spec: RepoSpec, host: str) -> SessionOrder:
    """Find the commit of a spec and its image, built if there is none, by a launch that ends there.

    Raises:
        LaunchFailed: that launch failed, and why.
    """
    launch = book.open(LaunchRequest(spec, host, build_only=True))
    async for _, event in launch.story.follow():
        if event.phase is Phase.FAILED:
            raise LaunchFailed(event.message.strip())
    if launch.commit is None or launch.image is None:
        raise LaunchFailed("The service was stopped.")
    return SessionOrder("", spec, launch.commit, launch.image.name, host, image_id=launch.image.id)


class Desk:
    """Takes reservations; ``host`` is the URL that visitors will come to, empty where it is not known."""

    def __init__(self, pool: Reserved, providers: Mapping[str, Provider], host: str, *, places: int) -> None:
        self._pool = pool
        self._providers = providers
        self._host = host
        self._places = places

    def all(self) -> Sequence[tuple[Reservation, int]]:
        """Give the reservations that have not ended, each with how many standbys are ready for it."""
        return self._pool.reserved()

    async def reserve(self, spec: RepoSpec, count: int, begins: float, ends: float, *, now: float) -> Reservation:
        """Keep ``count`` sessions of a repository ready from ``begins`` to ``ends``.

        Raises:
            UnknownProvider: no repo provider of that name is enabled.
            BadSpec: the spec is malformed, or the times or the number make no sense.
            Refused: there are not that many places.
        """
        provider = self._providers.get(spec.provider)
        if provider is None:
            raise UnknownProvider(f"No provider found for prefix {spec.provider}")
        provider.check(spec.spec)
        if count < 1:
            raise BadSpec(f"{count} sessions cannot be reserved.", hint="Give how many people will come.")
        if not max(begins, now) < ends:
            raise BadSpec("The reservation ends before it begins.", hint="Give --from and --to in the future.")
        if count > self._places:
            hint = "Reserve fewer, or raise limits.sessions if the machine can hold more."
            raise Refused(f"{count} sessions are more than the {self._places} places.", hint=hint)
        return await self._pool.reservations.add(spec, self._host, count, begins, ends)

    async def cancel(self, reservation_id: str) -> None:
        """Drop a reservation.

        Raises:
            ReservationNotFound: there is none of that id.
        """
        await self._pool.reservations.cancel(reservation_id)
