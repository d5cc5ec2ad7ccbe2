"""Who asks, for what, and by which address."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from binderlet.api.visitor import base_url, client_address, client_key, raw_path, token_origin
from support.asgi import scope_for

LOCAL = ("127.0.0.1", 1)
REMOTE = ("203.0.113.9", 1)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"raw_path": b"/build/git/https%3A%2F%2Fx/main", "path": "-"}, "/build/git/https%3A%2F%2Fx/main"),
        ({"raw_path": b"/a?b=c", "path": "-"}, "/a"),
        ({"raw_path": "/gh/ü".encode(), "path": "-"}, "/gh/%C3%BC"),
        ({"path": "/gh/ü x"}, "/gh/%C3%BC%20x"),
    ],
)
def test_the_path_stays_encoded(scope: dict[str, object], expected: str) -> None:
    """Percent-encoding survives, and bytes that should have been encoded are."""
    assert raw_path(scope) == expected


@pytest.mark.parametrize(
    ("client", "headers", "expected"),
    [
        (LOCAL, {"x-forwarded-for": "6.6.6.6, 198.51.100.7"}, "198.51.100.7"),
        (None, {"x-forwarded-for": "198.51.100.7"}, "198.51.100.7"),
        (LOCAL, {}, "127.0.0.1"),
        (None, {}, ""),
        (REMOTE, {"x-forwarded-for": "198.51.100.7"}, "203.0.113.9"),
    ],
)
def test_the_address_is_what_our_proxy_says(
    client: tuple[str, int] | None, headers: dict[str, str], expected: str
) -> None:
    """Only our own proxy is believed, and of a list only the entry it added itself."""
    assert client_address(scope_for("GET", "/", headers, client), Headers(headers)) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("unix", "unix"),
    ],
)
def test_a_household_is_one_client(address: str, expected: str) -> None:
    """One IPv6 network counts once; an IPv4 address counts the same in either form."""
    assert client_key(address) == expected


@pytest.mark.parametrize(
    ("client", "headers", "public", "expected"),
    [
        (LOCAL, {"host": "b.test:8585"}, "", "http://b.test:8585/"),
        (LOCAL, {"host": "b.test", "x-forwarded-proto": "https"}, "", "https://b.test/"),
        (REMOTE, {"host": "b.test", "x-forwarded-proto": "https"}, "", "http://b.test/"),
        (LOCAL, {"host": "[::1]:80"}, "", "http://[::1]:80/"),
        (LOCAL, {"host": "b.test"}, "https://binder.example.org", "https://binder.example.org/"),
        (LOCAL, {"host": '"><script>'}, "", "http://localhost/"),
    ],
)
def test_the_base_is_configured_or_as_requested(
    client: tuple[str, int], headers: dict[str, str], public: str, expected: str
) -> None:
    """A configured URL wins; else it is the one that was asked for, unless that is no host at all."""
    assert base_url(scope_for("GET", "/", headers, client), Headers(headers), public) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": "https://gallery.test:444", "host": "b.test"}, "gallery.test:444"),
        ({"host": "b.test"}, "b.test"),
        ({"origin": "null", "host": "b.test"}, "b.test"),
        ({}, ""),
    ],
)
def test_tokens_are_bound_to_the_asking_site(headers: dict[str, str], expected: str) -> None:
    """The Origin header's host counts, else the Host header."""
    assert token_origin(Headers(headers)) == expected
