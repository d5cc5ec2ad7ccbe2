"""HTTPS of one service: the certificate's keeper beside HAProxy, where the settings ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from binderlet.config import Settings
from binderlet.config.network import CA_VARIABLES, NetworkEnvironment
from binderlet.errors import ConfigError
from binderlet.events.metrics import Metrics
from binderlet.launch.vitals import Vitals
from binderlet.router.config import CERTIFICATE, Tls

if TYPE_CHECKING:
    from binderlet.router.https import Https


def tls_of(settings: Settings) -> Tls | None:
    """Give what HAProxy has to know."""
    https = settings.https
    return None if https.mode == "off" else Tls(https.port, redirect=https.redirect, hsts=int(https.hsts))


def webroot_of(state: Path) -> Path:
    """Give the folder for answers to the authority."""
    return state / "acme" / "webroot"


def names_of(settings: Settings) -> tuple[str, ...]:
    """Give the host names that the certificate is for.

    Raises:
        ConfigError: none is set.
    """
    host = urlsplit(settings.server.public_url).hostname
    names = tuple(settings.https.domains) or ((host,) if host else ())
    if not names:
        raise ConfigError("https.domains: no name for the certificate.", hint="Set it, or server.public_url.")
    return names


def make_https(
    settings: Settings, network: NetworkEnvironment, state: Path, swap: Callable[[bytes], Awaitable[None]]
) -> Https | None:
    """Make the keeper; None where HTTPS is off.

    Raises:
        ConfigError: no name is set.
    """
    if settings.https.mode == "off":
        return None
    # The libraries behind certificates cost 10 MB, which only those pay who need them.
    from binderlet.router.acme import Certbot  # noqa: PLC0415
    from binderlet.router.https import Https  # noqa: PLC0415

    environment = network.clone_environment()
    if network.ca_bundle is not None:
        environment |= dict.fromkeys(CA_VARIABLES, str(network.ca_bundle))
    authority = Certbot(settings.https, state / "acme", webroot_of(state), environment)
    # An HAProxy that is a unit is another user of the same group.
    mode = 0o640 if settings.system.haproxy else 0o600
    return Https(settings.https, names_of(settings), state / "run" / CERTIFICATE, authority, swap, mode=mode)


def watch_certificate(https: Https, vitals: Vitals, metrics: Metrics) -> None:
    """Show the certificate among the checks and the metrics."""
    vitals.include(https.check)
    metrics.include(
        "certificate_not_after_seconds",
        "When the certificate ends, in seconds since 1970.",
        lambda: https.not_after,
    )
