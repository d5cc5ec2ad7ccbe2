"""What is masked in text that is shown or logged."""

from __future__ import annotations

import pytest

from binderlet.config.redact import MASK, redact, redact_urls


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:pass@host/x", f"https://{MASK}@host/x"),
        ("clone of https://token@host/x and http://a:b@c", f"clone of https://{MASK}@host/x and http://{MASK}@c"),
        ("https://host/user@domain", "https://host/user@domain"),
        ("http://h/lab?token=abc&x=1", f"http://h/lab?token={MASK}&x=1"),
        ("/build/gh/o/r?build_token=abc", f"/build/gh/o/r?build_token={MASK}"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_urls(text: str, expected: str) -> None:
    """User information and token parameters are masked, and nothing else is."""
    assert redact_urls(text) == expected


@pytest.mark.parametrize(
    "text", ["Authorization: Bearer abc123", "authorization: token abc123", "{'PRIVATE-TOKEN': 'abc123'}"]
)
def test_headers(text: str) -> None:
    """What an authorization header carries is masked."""
    assert "abc123" not in redact(text)
    assert MASK in redact(text)


def test_known_secrets() -> None:
    """A known secret is masked wherever it stands; an empty one masks nothing."""
    assert redact("it is s3cret!", ["s3cret", ""]) == f"it is {MASK}!"
