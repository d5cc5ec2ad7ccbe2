"""The certificate's keeper, with a clock and an authority of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from binderlet.config.https import HttpsSettings
from binderlet.router.certificate import Certificate, CertificateError, make_self_signed, read
from binderlet.router.https import PATIENCE, Attempts, Https, is_due

NAMES = ("b.example.org",)
NOW = 1_800_000_000.0
DAY = 86400.0
ACME = HttpsSettings(mode="acme")


def issued(days: float = 90.0, names: Sequence[str] = NAMES, now: float = NOW) -> Certificate:
    """Make a certificate that looks as if an authority had made it."""
    made = make_self_signed(names, now)
    return replace(made, self_signed=False, not_after=now + days * DAY)


@dataclass
class Authority:
    """Gives what the test put there."""

    kept_one: Certificate | CertificateError | None = None
    next_one: Certificate | CertificateError = field(default_factory=issued)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def kept(self) -> Certificate | None:
        """Give the kept one."""
        if isinstance(self.kept_one, CertificateError):
            raise self.kept_one
        return self.kept_one

    async def obtain(self, names: Sequence[str]) -> Certificate:
        """Give the next one."""
        self.asked.append(tuple(names))
        if isinstance(self.next_one, CertificateError):
            raise self.next_one
        return self.next_one


@dataclass
class World:
    """A keeper with what is around it."""

    folder: Path
    authority: Authority = field(default_factory=Authority)
    settings: HttpsSettings = ACME
    now: float = NOW
    swapped: list[bytes] = field(default_factory=list)
    swap_fails: bool = False

    def __post_init__(self) -> None:
        self.file = self.folder / "certificate.pem"
        self.keeper = Https(
            self.settings, NAMES, self.file, self.authority, self._swap, clock=lambda: self.now, sleep=self._sleep
        )

    async def _swap(self, pem: bytes) -> None:
        if self.swap_fails:
            raise CertificateError("HAProxy is away.")
        self.swapped.append(pem)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > NOW + 300:
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("certificate", "attempts", "due"),
    [
        (issued(90), Attempts(), False),
        (issued(29), Attempts(), True),
        (issued(-1), Attempts(), True),
        (issued(90, ("other.example.org",)), Attempts(), True),
        (make_self_signed(NAMES, NOW), Attempts(), True),
        (issued(29), Attempts(1, NOW - PATIENCE[0] + 1), False),
        (issued(29), Attempts(1, NOW - PATIENCE[0]), True),
        (issued(29), Attempts(99, NOW - PATIENCE[-1] + 1), False),
        (issued(29), Attempts(99, NOW - PATIENCE[-1]), True),
    ],
)
def test_when_the_authority_is_asked(certificate: Certificate, attempts: Attempts, *, due: bool) -> None:
    """It is asked for what is missing, wrong or about to end, and less often the more often it refused."""
    assert is_due(certificate, NAMES, attempts, NOW, 30 * DAY) is due


async def test_it_begins_self_signed_and_swaps_live(tmp_path: Path) -> None:
    """HAProxy gets a certificate at once, then the authority's, which is on disk for the next start too."""
    world = World(tmp_path)
    assert world.keeper.not_after == 0
    assert not world.keeper.check().ok
    await world.keeper.prepare()
    assert (await asyncio.to_thread(lambda: read(world.file.read_bytes()))).self_signed
    assert world.file.stat().st_mode & 0o777 == 0o600
    assert world.keeper.check().ignore_failure
    assert "being asked" in world.keeper.check().message
    await world.keeper.look()
    assert world.authority.asked == [NAMES]
    (shown,) = world.swapped
    assert await asyncio.to_thread(world.file.read_bytes) == shown
    assert world.keeper.check().ok
    assert "90 days" in world.keeper.check().message
    assert world.keeper.not_after == NOW + 90 * DAY
    await world.keeper.look()
    assert len(world.authority.asked) == 1


async def test_a_kept_certificate_is_used_at_once(tmp_path: Path) -> None:
    """After a restart nobody is asked while the certificate is good."""
    world = World(tmp_path, Authority(kept_one=issued(60)))
    await world.keeper.prepare()
    await world.keeper.look()
    assert not world.authority.asked
    assert not world.swapped


async def test_what_haproxy_had_last_is_used_where_the_authority_has_nothing(tmp_path: Path) -> None:
    """HAProxy's own file is good enough to go on with."""
    first = World(tmp_path)
    await first.keeper.prepare()
    again = World(tmp_path)
    await again.keeper.prepare()
    assert again.keeper._certificate is not None
    assert first.keeper._certificate is not None
    assert again.keeper._certificate.pem == first.keeper._certificate.pem


@pytest.mark.parametrize("kept", [issued(-1), issued(60, ("old.example.org",)), CertificateError("Broken.")])
async def test_a_kept_certificate_that_is_no_use(tmp_path: Path, kept: Certificate | CertificateError) -> None:
    """One that has ended, is for other names, or cannot be read is replaced by a first one."""
    world = World(tmp_path, Authority(kept_one=kept))
    await world.keeper.prepare()
    assert world.keeper._certificate is not None
    assert world.keeper._certificate.self_signed


async def test_a_refusal_is_told_and_tried_again_later(tmp_path: Path) -> None:
    """The old certificate goes on; health says what the authority said; the next try waits."""
    world = World(tmp_path, Authority(issued(5), CertificateError("No.", hint="Mend the DNS.")))
    await world.keeper.prepare()
    await world.keeper.look()
    await world.keeper.look()
    assert len(world.authority.asked) == 1
    check = world.keeper.check()
    assert not check.ok
    assert check.ignore_failure
    assert check.message == "good for 5 days. No. Mend the DNS."
    world.now += 6 * DAY
    check = world.keeper.check()
    assert not check.ignore_failure
    assert "it has ended" in check.message
    world.authority.next_one = issued(90, now=world.now)
    await world.keeper.look()
    assert world.keeper.check().ok
    assert "No." not in world.keeper.check().message


async def test_haproxy_that_was_away_gets_it_later(tmp_path: Path) -> None:
    """A certificate that could not be swapped in is given again, without asking the authority again."""
    world = World(tmp_path, swap_fails=True)
    await world.keeper.prepare()
    await world.keeper.look()
    world.swap_fails = False
    await world.keeper.look()
    assert len(world.authority.asked) == 1
    assert len(world.swapped) == 1


async def test_the_operators_files_are_followed(tmp_path: Path) -> None:
    """New files are swapped in without asking; unreadable ones are said, and the old certificate goes on."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    settings = HttpsSettings(mode="files", certificate=str(chain), key=str(key))

    def write(certificate: Certificate) -> None:
        first, _, second = certificate.pem.partition(b"-----BEGIN PRIVATE")
        chain.write_bytes(first)
        key.write_bytes(b"-----BEGIN PRIVATE" + second)

    await asyncio.to_thread(write, make_self_signed(NAMES, NOW))
    world = World(tmp_path, settings=settings)
    await world.keeper.prepare()
    await world.keeper.look()
    assert not world.swapped
    assert world.keeper.check().ok
    await asyncio.to_thread(write, make_self_signed(NAMES, NOW + DAY))
    await world.keeper.look()
    assert len(world.swapped) == 1
    await asyncio.to_thread(key.unlink)
    await world.keeper.look()
    assert "key.pem cannot be read" in world.keeper.check().message
    with pytest.raises(CertificateError, match=r"key\.pem cannot be read"):
        await World(tmp_path, settings=settings).keeper.prepare()
    assert not world.authority.asked


async def test_it_looks_every_minute(tmp_path: Path) -> None:
    """The loop goes on after failures."""
    world = World(tmp_path, Authority(next_one=CertificateError("No.")))
    await world.keeper.prepare()
    with pytest.raises(asyncio.CancelledError):
        await world.keeper.run()
    assert len(world.authority.asked) == 2
