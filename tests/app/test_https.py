"""HTTPS of a whole service, with a certificate from a real authority."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from binderlet.app.https import make_https, names_of, tls_of
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.errors import ConfigError
from binderlet.router.config import Tls
from support.acme_server import SITE, acme_server, certificate_of
from support.app import served, settings
from support.eventually import eventually
from support.upstreams import free_port

NAME = "binder.test"


@pytest.mark.haproxy
@pytest.mark.timeout(120)
async def test_a_service_gets_its_certificate_by_itself(tmp_path: Path) -> None:
    """It serves https at once, is asked by the authority through its own port 80, and then is trusted."""
    port = free_port()
    authority = acme_server(tmp_path, {NAME: SITE})
    server = await asyncio.to_thread(authority.__enter__)
    try:
        wanted = settings(
            tmp_path / "s",
            server={"host": SITE, "port": 80, "instance": "thttps", "public_url": f"https://{NAME}/"},
            https={"mode": "acme", "port": port, "directory": server.directory, "hsts": "1h"},
            network={"ca_bundle": str(server.root)},
        )
        async with served(wanted):
            trust = ssl.create_default_context(cafile=server.root)

            async def is_trusted() -> bool:
                connector = aiohttp.TCPConnector(ssl=trust)
                async with aiohttp.ClientSession(connector=connector) as http:
                    try:
                        answer = await http.get(f"https://{SITE}:{port}/health", server_hostname=NAME)
                    except aiohttp.ClientConnectorCertificateError:
                        return False
                    return answer.status == 200

            assert await asyncio.to_thread(certificate_of, SITE, port, NAME)
            await eventually(is_trusted, seconds=90)
    finally:
        await asyncio.to_thread(authority.__exit__, None, None, None)


def test_names_of_the_certificate() -> None:
    """They are those that are set, or else the host that visitors type; without either it is said."""
    public = {"server": {"public_url": "https://b.example.org/"}}
    assert names_of(Settings.model_validate(public)) == ("b.example.org",)
    assert names_of(Settings.model_validate(public | {"https": {"domains": ["c.org", "d.org"]}})) == ("c.org", "d.org")
    with pytest.raises(ConfigError, match=r"https\.domains"):
        names_of(Settings())


async def test_off_is_off(tmp_path: Path) -> None:
    """Without it there is nothing to keep and nothing for HAProxy to know."""

    async def swap(_: bytes) -> None:
        """Take it."""

    assert tls_of(Settings()) is None
    assert make_https(Settings(), NetworkEnvironment(), tmp_path, swap) is None
    on = Settings.model_validate({"https": {"mode": "acme", "hsts": "1d", "domains": ["b.org"]}})
    assert tls_of(on) == Tls(443, redirect=True, hsts=86400)
    assert make_https(on, NetworkEnvironment(), tmp_path, swap) is not None
