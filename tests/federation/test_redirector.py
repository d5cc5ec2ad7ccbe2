"""Who gets which launch, with a clock in the test's hand."""

from __future__ import annotations

from binderlet.federation import redirector as module
from binderlet.federation.config import Federation
from binderlet.federation.pick import digest, key_of
from binderlet.federation.redirector import Redirector
from binderlet.federation.report import unreachable
from support.federation import federation, well

NOW = 1_772_323_200.0


class Clock:
    """Seconds since the epoch."""

    now = NOW

    def __call__(self) -> float:
        """Give the time."""
        return self.now


def made(wanted: Federation, clock: Clock | None = None, chance: float = 0.0) -> Redirector:
    """A redirector whose members are all well."""
    redirector = Redirector(wanted, clock=clock or Clock(), chance=lambda: chance)
    for name in wanted.members:
        redirector.learn(name, well())
    return redirector


def headers(answer: bytes | None) -> dict[bytes, bytes]:
    """The headers of an answer."""
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 307 Temporary Redirect\r\n")
    assert answer.endswith(b"\r\n\r\n")
    return dict(line.split(b": ", 1) for line in answer[:-4].split(b"\r\n")[1:])


def test_the_answer() -> None:
    """A launch is led on with path and query, may be read by scripts of any site, and its cookie is for its path."""
    answer = headers(made(federation({"a": 1})).answer(b"/build/gh/o/r/HEAD?build_token=x", b""))
    assert answer[b"location"] == b"https://a.test/build/gh/o/r/HEAD?build_token=x"
    assert answer[b"access-control-allow-origin"] == b"*"
    assert answer[b"content-length"] == b"0"
    assert answer[b"date"] == b"Sun, 01 Mar 2026 00:00:00 GMT"
    assert answer[b"set-cookie"] == (
        b'host="https://a.test"; Path=/build/gh/o/r/HEAD; Max-Age=14400; HttpOnly; SameSite=Lax; Secure'
    )


def test_no_cookie() -> None:
    """A path that a cookie cannot hold has none, nor has any where they are off; over plain http none is secure."""
    assert b"set-cookie" not in headers(made(federation({"a": 1})).answer(b"/build/gh/o/r;x/HEAD", b""))
    assert b"set-cookie" not in headers(made(federation({"a": 1}, cookie=0)).answer(b"/build/gh/o/r/HEAD", b""))
    plain = made(federation({"a": 1}, url="http://fed.test"))
    assert b"Secure" not in headers(plain.answer(b"/build/gh/o/r/HEAD", b""))[b"set-cookie"]


def test_what_is_no_url() -> None:
    """A target with characters that no URL may have gets no answer: nothing can be smuggled into a header."""
    redirector = made(federation({"a": 1}))
    assert [redirector.answer(bad, b"") for bad in (b"/build/a b", b"/build/\xff", b"/build/\r\nx: y", b"/x")] == [
        None
    ] * 4


def test_the_cookie_counts() -> None:
    """Who was sent to a member comes back to it, as long as it may get launches."""
    redirector = made(federation())
    path = b"/build/gh/o/r/HEAD"
    for name in "abc":
        for form in (b'host="https://%s.test"', b"x=y; host=https://%s.test; z=1"):
            assert redirector.decide(path, form % name.encode()) == (name, "cookie")
    assert redirector.decide(path, b'host="https://evil.test"')[1] == "choice"
    assert redirector.decide(path, b'ghost="https://a.test"')[1] == "choice"
    redirector.learn("a", unreachable("refused"))
    assert redirector.decide(path, b'host="https://a.test"')[0] != "a"


def test_replicas_agree() -> None:
    """Two redirectors with one file and the same members send every repository to the same place."""
    one, two = made(federation()), made(federation())
    two.learn("c", unreachable("refused"))
    two.learn("c", well())
    for number in range(300):
        path = b"/build/gh/o/r%d/HEAD" % number
        assert one.give(path, b"") == two.give(path, b"")
    assert sum(one.counts.values()) == 300


def test_a_member_that_goes_takes_nobody_along() -> None:
    """After one bad probe a member gets nothing, and launches of the others stay where they were."""
    redirector = made(federation())
    paths = [b"/build/gh/o/r%d/HEAD" % number for number in range(200)]
    before = [redirector.give(path, b"") for path in paths]
    redirector.learn("b", unreachable("refused"))
    after = [redirector.give(path, b"") for path in paths]
    assert "b" in before
    assert "b" not in after
    assert all(old in {new, "b"} for old, new in zip(before, after, strict=True))
    redirector.learn("b", well())
    assert [redirector.give(path, b"") for path in paths] == before


def test_what_changes_slowly() -> None:
    """Places that fill up count with the next look at the clock; a member that is full then gets nothing."""
    redirector = made(federation({"a": 1, "b": 1}))
    redirector.learn("b", well(quota=100, total=100))
    assert set(redirector.active_hosts()) == {"a", "b"}
    redirector.refresh()
    assert set(redirector.active_hosts()) == {"a"}


def test_by_chance() -> None:
    """With 'random' chance decides."""
    wanted = federation(load_balancer="random")
    assert made(wanted, chance=0.0).decide(b"/build/gh/o/r/x", b"") == ("a", "random")
    assert made(wanted, chance=0.99).decide(b"/build/gh/o/r/x", b"") == ("c", "random")


def test_who_has_the_image() -> None:
    """The member that has the image is preferred, until it had more than its fair share."""
    redirector = made(federation())
    path = b"/build/gh/o/r/HEAD"
    home, _ = redirector.decide(path, b"")
    other = next(name for name in "abc" if name != home)
    redirector.learn_images(other, frozenset({digest(key_of(path))}))
    assert redirector.decide(path, b"") == (other, "image")
    for _ in range(200):
        redirector.give(path, b"")
    redirector.refresh()
    assert redirector.decide(path, b"") == (home, "choice")
    redirector.learn_images(other, frozenset())
    assert redirector.decide(path, b"") == (home, "choice")


def test_fair_shares_are_forgotten() -> None:
    """What a member got long ago no longer keeps it from getting more."""
    clock = Clock()
    redirector = made(federation({"a": 1, "b": 1}), clock)
    path = b"/build/gh/o/r/HEAD"
    home, _ = redirector.decide(path, b"")
    other = "ab".replace(home, "")
    redirector.learn_images(other, frozenset({digest(key_of(path))}))
    for _ in range(200):
        redirector.give(path, b"")
    clock.now += 5 * 3600
    redirector.refresh()
    for _ in range(12):
        redirector.give(b"/build/x", b'host="https://%s.test"' % home.encode())
    redirector.refresh()
    assert redirector.decide(path, b"") == (other, "image")


def test_a_loved_repository() -> None:
    """What would take a member far over its fair share goes to the next best."""
    redirector = made(federation())
    path = b"/build/gh/o/r/HEAD"
    home = redirector.give(path, b"")
    for _ in range(200):
        redirector.give(path, b"")
    redirector.refresh()
    next_best, reason = redirector.decide(path, b"")
    assert (next_best != home, reason) == (True, "spill")
    assert redirector.decide(path, b"") == (next_best, "spill")


def test_a_budget_is_kept() -> None:
    """A member whose budget is used up gets nothing until the next month."""
    clock = Clock()
    redirector = made(federation({"a": 1, "b": 1}, members={"b": {"budget": 10}}), clock)
    clock.now += 20 * 86400
    for number in range(200):
        redirector.give(b"/build/gh/o/r%d/HEAD" % number, b"")
        redirector.refresh()
    assert redirector.counts["b", "choice"] <= 10
    clock.now += 15 * 86400
    redirector.refresh()
    assert set(redirector.active_hosts()) == {"a", "b"}


def test_a_new_file() -> None:
    """A new file is taken at once; what is known of members that stay is kept."""
    redirector = made(federation({"a": 1, "b": 1}))
    redirector.learn_images("b", frozenset({b"x"}))
    redirector.reload(federation({"a": 1, "b": 3, "n": 1}))
    assert {name: one["weight"] for name, one in redirector.active_hosts().items()} == {"a": 1, "b": 3}
    redirector.learn("n", well())
    redirector.learn("gone", well())
    assert set(redirector.active_hosts()) == {"a", "b", "n"}
    assert redirector.active_hosts()["a"] == {
        "url": "https://a.test",
        "weight": 1,
        "health": "https://a.test/health",
        "versions": "https://a.test/versions",
        "prime": True,
        "effective_weight": 1,
    }


def test_where_pages_come_from() -> None:
    """Primes that are well come first, then other primes, then members that are well."""
    redirector = made(federation({"p": 1, "m": 1, "q": 1, "x": 1}, members={"q": {"prime": True}}))
    redirector.learn("p", unreachable("refused"))
    redirector.learn("x", unreachable("refused"))
    assert redirector.primes() == ["q", "p", "m"]


def test_memory_is_bounded() -> None:
    """The cache of choices is emptied when it is full."""
    redirector = made(federation())
    old, module.REMEMBERED = module.REMEMBERED, 10
    try:
        for number in range(25):
            redirector.give(b"/build/gh/o/r%d/HEAD" % number, b"")
    finally:
        module.REMEMBERED = old
    assert len(redirector._homes) <= 10
