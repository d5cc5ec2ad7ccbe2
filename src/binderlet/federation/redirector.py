"""The redirector's memory: the file, how the members stand, and who gets which launch. No I/O.

A launch costs a look into the cache of choices, or one draw per member; everything else is made once a second, or
when a probe brings something new.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from binderlet.federation import pick
from binderlet.federation.config import Balance, Federation
from binderlet.federation.ledger import Ledger
from binderlet.federation.report import Report
from binderlet.federation.standing import Standing, advance
from binderlet.federation.weights import Share, shares, usable

COOKIE = re.compile(rb'(?:^|;)\s*host="?([^";,\s]+)')
SAFE_TARGET = re.compile(rb"/build/[!-~]*")
UNSAFE_IN_COOKIE = re.compile(rb"[;,\"\\]")
REMEMBERED = 50_000
"""Choices kept until a weight changes."""
RECENT = 1800.0
"""Seconds in which a launch counts less and less towards a member's fair share."""
CORS = b"access-control-allow-origin: *\r\naccess-control-allow-headers: cache-control, last-event-id\r\n"


@dataclass(frozen=True, slots=True)
class Words:
    """The answer that leads to one member, ready but for the path."""

    url: bytes
    before: bytes
    """Up to and with the member's URL in ``location``."""
    between: bytes
    """From there to the path in the cookie."""
    after: bytes


def words(url: str, cookie: float, *, secure: bool) -> Words:
    """Prepare a member's answer; ``cookie``: seconds; ``secure``: whether visitors come by https alone."""
    raw = url.encode()
    before = b"HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\ncache-control: no-store\r\n" + CORS
    after = b"; Max-Age=%d; HttpOnly; SameSite=Lax%b\r\n" % (cookie, b"; Secure" if secure else b"")
    return Words(raw, before + b"location: " + raw, b'\r\nset-cookie: host="' + raw + b'"; Path=', after)


class Redirector:
    """Who gets which launch. Every method answers from memory."""

    def __init__(
        self,
        federation: Federation,
        *,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.federation = federation
        self.standings: dict[str, Standing] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        """Launches by member and reason: ``cookie``, ``choice``, ``spill``, ``image`` or ``random``."""
        self.ledger = ledger or Ledger()
        self._clock = clock
        self._chance = chance
        self._images: dict[str, frozenset[bytes]] = {}
        self._homes: dict[bytes, int] = {}
        self._spills: dict[bytes, int] = {}
        """Who takes the repositories of members that are busy; at most as many as there are homes."""
        self._busy: frozenset[int] = frozenset()
        self._recent: dict[str, float] = {}
        self._ticked = clock()
        self._build(federation)

    def _build(self, federation: Federation) -> None:
        self.federation = federation
        age, secure = federation.cookie, federation.url.startswith("https:")
        self._words = {name: words(member.url, age, secure=secure) for name, member in federation.members.items()}
        self._entries: list[pick.Entry] = []
        self.refresh()

    def reload(self, federation: Federation) -> None:
        """Take a new file; what is known of a member that stays where it was is kept."""
        old = self.federation.members
        same = [name for name, member in federation.members.items() if name in old and old[name].url == member.url]
        self.standings = {name: self.standings[name] for name in same if name in self.standings}
        self._images = {name: self._images[name] for name in same if name in self._images}
        self.ledger.set_replicas(federation.replicas)
        self._build(federation)

    def learn(self, name: str, report: Report) -> None:
        """Take a probe's report of a member; of one that is no longer in the file nothing is learnt.

        A member that comes or goes counts at once, what else changed with the next ``refresh``: with a thousand members
        there are dozens of reports a second.
        """
        if name not in self.federation.members:
            return
        before = self.standings.get(name, Standing())
        after = self.standings[name] = advance(before, report, self._clock(), self.federation.check)
        if (before.phase, before.report.draining) != (after.phase, after.report.draining):
            self.refresh()

    def learn_images(self, name: str, keys: frozenset[bytes]) -> None:
        """Take the list of repositories whose image a member has."""
        if keys:
            self._images[name] = keys
        else:
            self._images.pop(name, None)

    def refresh(self) -> None:
        """Look at the clock: weights, fair shares and the date. To be called every second or so."""
        now = self._clock()
        self.shares: list[Share] = shares(self.federation, self.standings, self.ledger.used(now), now)
        taken = usable(self.shares, self.federation, self.standings)
        entries = [pick.entry(one.name, one.url, one.weight) for one in taken]
        if entries != self._entries:
            if {one.name for one in entries} != {one.name for one in self._entries}:
                # What the others got in the meantime is not to be made up for: that would flood who comes back.
                self._recent.clear()
            self._entries = entries
            self._by_url = {self._words[one.name].url: index for index, one in enumerate(entries)}
            self._homes.clear()
        fading = math.exp(-max(0.0, now - self._ticked) / RECENT)
        self._ticked = now
        self._recent = {name: count * fading for name, count in self._recent.items()}
        counts = [self._recent.get(one.name, 0.0) for one in entries]
        busy = pick.busy(counts, entries, self.federation.spread.bound)
        if busy != self._busy or not self._homes:
            self._spills.clear()
        self._busy = busy
        self._date = b"date: " + formatdate(now, usegmt=True).encode() + b"\r\n\r\n"

    def decide(self, path: bytes, cookie: bytes) -> tuple[str, str]:
        """Give the member for a launch, and why; ``cookie`` is the request's header, or nothing."""
        entries = self._entries
        if cookie and (found := COOKIE.search(cookie)) and (index := self._by_url.get(found[1])) is not None:
            return entries[index].name, "cookie"
        if self.federation.load_balancer is Balance.RANDOM:
            return entries[pick.choose_evenly(entries, self._chance())].name, "random"
        key = pick.key_of(path)
        home = self._homes.get(key)
        if home is None:
            if len(self._homes) >= REMEMBERED:
                self._homes.clear()
                self._spills.clear()
            home = self._homes[key] = pick.choose(key, entries)
        taken = self._spill(key, home) if home in self._busy else home
        if self._images and self.federation.spread.images:
            index = self._prefer(key, taken)
            if index != taken:
                return entries[index].name, "image"
        return entries[taken].name, "choice" if taken == home else "spill"

    def _spill(self, key: bytes, home: int) -> int:
        taken = self._spills.get(key)
        if taken is None:
            taken = self._spills[key] = pick.spill(key, self._entries, home, self._busy)
        return taken

    def _prefer(self, key: bytes, home: int) -> int:
        name = pick.digest(key)
        images, entries = self._images, self._entries
        holders = [index for index, one in enumerate(entries) if name in images.get(one.name, ())]
        return pick.prefer(key, entries, home, holders, self._busy)

    def give(self, path: bytes, cookie: bytes) -> str:
        """Decide a launch and count it; gives the member's name."""
        name, reason = self.decide(path, cookie)
        self.counts[name, reason] += 1
        self._recent[name] = self._recent.get(name, 0.0) + 1
        if self.federation.members[name].budget:
            self.ledger.add(name, self._clock())
        return name

    def answer(self, target: bytes, cookie: bytes) -> bytes | None:
        """Give the whole HTTP answer to ``GET target``; None where the target has characters that no URL may have."""
        if SAFE_TARGET.fullmatch(target) is None:
            return None
        path = target.partition(b"?")[0]
        said = self._words[self.give(path, cookie)]
        if not self.federation.cookie or UNSAFE_IN_COOKIE.search(path):
            return b"%b%b\r\n%b" % (said.before, target, self._date)
        return b"%b%b%b%b%b%b" % (said.before, target, said.between, path, said.after, self._date)

    def active_hosts(self) -> Mapping[str, Mapping[str, object]]:
        """Give the members that get launches, as mybinder.org's redirector lists them."""
        members = self.federation.members
        return {
            one.name: {
                "url": members[one.name].url,
                "weight": members[one.name].weight,
                "health": members[one.name].health_url,
                "versions": members[one.name].versions_url,
                "prime": members[one.name].prime,
                "effective_weight": round(one.weight, 4),
            }
            for one in self._entries
        }

    def primes(self) -> list[str]:
        """Give the members that pages may come from, the best first: primes that are well, primes, others that are."""
        members = self.federation.members
        well = {one.name for one in self.shares if not self.standings.get(one.name, Standing()).trouble}
        ranked = sorted(members, key=lambda name: (not members[name].prime, name not in well))
        return [name for name in ranked if members[name].prime or name in well]
