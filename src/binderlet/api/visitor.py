"""Who asks, for what, and by which address: read from the request as the proxy in front hands it on.

The control plane listens on loopback or a unix socket for HAProxy, which removes the visitor's own
``X-Forwarded-*`` headers and sets them itself; from any other peer they are not believed.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

HOST = re.compile(r"[A-Za-z0-9._~-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
EVERY_ASCII = "".join(map(chr, range(33, 127)))


def raw_path(scope: Scope) -> str:
    """Give the path as it was sent, still percent-encoded and without the query."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return quote(raw.partition(b"?")[0], safe=EVERY_ASCII)


def came_through_proxy(scope: Scope) -> bool:
    """Tell whether the peer is our own proxy: a unix socket or this machine."""
    client = scope.get("client")
    return not client or not client[0] or client[0] in {"127.0.0.1", "::1"}


def client_address(scope: Scope, headers: Headers) -> str:
    """Give the visitor's address, or ``""`` where it cannot be known."""
    if came_through_proxy(scope) and (forwarded := headers.get("x-forwarded-for")):
        return forwarded.rpartition(",")[2].strip()
    client = scope.get("client")
    return client[0] if client else ""


def client_key(address: str) -> str:
    """Give what rate limits count: the address, or for IPv6 the network of one household (/64)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def base_url(scope: Scope, headers: Headers, public_url: str) -> str:
    """Give the URL visitors reach this service at, with trailing slash: as configured, else as requested."""
    if public_url:
        return public_url.rstrip("/") + "/"
    scheme = scope.get("scheme", "http")
    if came_through_proxy(scope) and headers.get("x-forwarded-proto") in {"http", "https"}:
        scheme = headers["x-forwarded-proto"]
    host = headers.get("host", "")
    if not HOST.fullmatch(host):
        host = "localhost"
    return f"{scheme}://{host}/"


def token_origin(headers: Headers) -> str:
    """Give what a build token is bound to: the host of the Origin header, else the Host header."""
    origin = headers.get("origin", "")
    return (urlsplit(origin).netloc if "://" in origin else "") or headers.get("host", "")
