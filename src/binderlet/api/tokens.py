"""Build tokens: a launch page proves that it was served by this service, or by a member of its federation.

The format is BinderHub's, so that members share one secret: an HS256 JWT with the spec as audience.
"""

from __future__ import annotations

import jwt

from binderlet.errors import ConfigError, TokenInvalid

LIFETIME = 300
"""Seconds."""
LEEWAY = 10
"""Seconds that the clocks of two members may differ."""
ALGORITHM = "HS256"


class BuildTokens:
    """Makes and checks build tokens with one secret; raises ``ConfigError`` where it is not hexadecimal."""

    def __init__(self, secret: str) -> None:
        try:
            self._key = bytes.fromhex(secret)
        except ValueError as error:
            raise ConfigError("security.build_token_secret: write it in hexadecimal digits.") from error
        if not self._key:
            raise ConfigError("security.build_token_secret: it is empty.")

    def make(self, provider: str, spec: str, origin: str, now: float) -> str:
        """Make a token for a spec (percent-encoded), good for ``LIFETIME`` seconds from ``now`` on."""
        claims = {"exp": int(now) + LIFETIME, "aud": audience(provider, spec), "origin": origin}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def check(self, token: str, provider: str, spec: str, origin: str, now: float) -> None:
        """Check a token.

        Raises:
            TokenInvalid: it is forged, stale, for another repository, or was given to another site.
        """
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                options={"require": ["exp", "aud", "origin"], "verify_exp": False, "verify_aud": False},
            )
            stale = float(claims["exp"]) + LEEWAY < now
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            raise TokenInvalid("Invalid build token.") from error
        if stale:
            raise TokenInvalid("The build token is too old.")
        if str(claims["aud"]).rstrip("/") != audience(provider, spec):
            raise TokenInvalid("The build token is for another repository.")
        if claims["origin"] != origin:
            raise TokenInvalid("The build token was made for another site.")


def audience(provider: str, spec: str) -> str:
    """Give the claim that binds a token to a repository; a trailing slash means nothing."""
    return f"{provider}/{spec}".rstrip("/")
