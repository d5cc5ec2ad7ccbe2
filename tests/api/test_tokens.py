"""Build tokens."""

from __future__ import annotations

import jwt
import pytest

from binderlet.api.tokens import LEEWAY, LIFETIME, BuildTokens
from binderlet.errors import ConfigError, TokenInvalid

SECRET = "0123456789abcdef" * 4
NOW = 1_800_000_000.0
SPEC = "owner/repo/feature%2Fx"


def test_the_claims_are_binderhubs() -> None:
    """Another member of the federation reads HS256, exp, aud and origin with the shared secret."""
    token = BuildTokens(SECRET).make("gh", SPEC, "binder.test", NOW)
    claims = jwt.decode(
        token, bytes.fromhex(SECRET), algorithms=["HS256"], options={"verify_exp": False}, audience=f"gh/{SPEC}"
    )
    assert claims == {"exp": int(NOW) + LIFETIME, "aud": f"gh/{SPEC}", "origin": "binder.test"}


def test_a_token_of_a_member_is_accepted() -> None:
    """What another member signed with the shared secret passes, a trailing slash in its audience or not."""
    claims = {"exp": NOW + 300, "aud": f"gh/{SPEC}/", "origin": "mybinder.test"}
    token = jwt.encode(claims, bytes.fromhex(SECRET), algorithm="HS256")
    BuildTokens(SECRET).check(token, "gh", SPEC, "mybinder.test", NOW)


@pytest.mark.parametrize(
    ("spec", "origin", "later", "reason"),
    [
        (SPEC, "binder.test", LIFETIME + LEEWAY + 1, "too old"),
        ("owner/other/HEAD", "binder.test", 0, "another repository"),
        (SPEC, "evil.test", 0, "another site"),
    ],
)
def test_a_token_is_bound(spec: str, origin: str, later: float, reason: str) -> None:
    """A token is good for one repository, one site and five minutes."""
    tokens = BuildTokens(SECRET)
    token = tokens.make("gh", SPEC, "binder.test", NOW)
    with pytest.raises(TokenInvalid, match=reason):
        tokens.check(token, "gh", spec, origin, NOW + later)


@pytest.mark.parametrize("claims", [{}, {"exp": "soon", "aud": "gh/x", "origin": "o"}, {"exp": NOW, "aud": "gh/x"}])
def test_odd_claims_are_refused(claims: dict[str, object]) -> None:
    """A token without the claims, or with claims of a wrong type, is refused and not a crash."""
    token = jwt.encode(claims, bytes.fromhex(SECRET), algorithm="HS256")
    with pytest.raises(TokenInvalid):
        BuildTokens(SECRET).check(token, "gh", "x", "o", NOW)


@pytest.mark.parametrize("forge", ["unsigned", "other key", "garbage"])
def test_forged_tokens_are_refused(forge: str) -> None:
    """Neither ``alg: none`` nor another key nor garbage passes."""
    claims = {"exp": NOW + 300, "aud": f"gh/{SPEC}", "origin": "binder.test"}
    token = {
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "other key": jwt.encode(claims, b"x" * 32, algorithm="HS256"),
        "garbage": "a.b.c",
    }[forge]
    with pytest.raises(TokenInvalid, match="Invalid build token"):
        BuildTokens(SECRET).check(token, "gh", SPEC, "binder.test", NOW)


@pytest.mark.parametrize("secret", ["", "not hexadecimal"])
def test_a_bad_secret_is_refused_at_start(secret: str) -> None:
    """A secret that cannot be used is a configuration error with the key's path."""
    with pytest.raises(ConfigError, match=r"security\.build_token_secret"):
        BuildTokens(secret)
