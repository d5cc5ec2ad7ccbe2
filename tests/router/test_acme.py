"""Certificates from a real ACME authority, and from one that a script plays."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from binderlet.config.https import HttpsSettings
from binderlet.errors import MissingProgram
from binderlet.router import acme
from binderlet.router.acme import Certbot, find_certbot
from binderlet.router.certificate import CertificateError, make_self_signed
from support.acme_server import SITE, AcmeServer, acme_server
from support.upstreams import free_port

NAMES = ("binder.test", "www.binder.test")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeServer]:
    """One authority for the tests of this file."""
    with acme_server(tmp_path_factory.mktemp("acme"), dict.fromkeys(NAMES, SITE)) as server:
        yield server


def certbot(authority: AcmeServer, tmp_path: Path, **changed: object) -> Certbot:
    """Make a client of it."""
    settings = HttpsSettings.model_validate({"mode": "acme", "directory": authority.directory} | changed)
    return Certbot(settings, tmp_path / "acme", tmp_path / "webroot", {"REQUESTS_CA_BUNDLE": str(authority.root)})


@asynccontextmanager
async def site(webroot: Path) -> AsyncIterator[None]:
    """Serve the folder where the authority looks."""
    app = web.Application()
    await asyncio.to_thread(webroot.mkdir, parents=True)
    app.router.add_static("/", webroot)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, SITE, 80).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.mark.timeout(120)
async def test_a_certificate_is_got_renewed_and_kept(authority: AcmeServer, tmp_path: Path) -> None:
    """The authority asks for tokens by http and signs; a second certificate is a new one; both are found on disk."""
    client = certbot(authority, tmp_path, email="operator@example.org")
    assert await asyncio.to_thread(client.kept) is None
    async with site(tmp_path / "webroot"):
        first = await client.obtain(NAMES)
        second = await client.obtain(NAMES[:1])
    assert first.names == set(NAMES)
    assert second.names == set(NAMES[:1])
    assert not first.self_signed
    assert first.not_after > time.time() + 3 * 86400
    assert await asyncio.to_thread(client.kept) == second


@pytest.mark.timeout(60)
async def test_an_authority_that_is_away(authority: AcmeServer, tmp_path: Path) -> None:
    """It is said which setting names the authority."""
    client = certbot(authority, tmp_path, directory=f"http://127.0.0.1:{free_port()}/directory")
    with pytest.raises(CertificateError, match="No certificate came") as error:
        await client.obtain(NAMES)
    assert "https.directory" in error.value.hint


IMPATIENT = """#!{python}
import sys
from certbot._internal.auth_handler import AuthHandler
from certbot.main import main

AuthHandler.handle_authorizations.__defaults__ = (False, 2, 30)  # looks at the authority's progress twice, not 30 times
sys.exit(main())
"""


@pytest.mark.timeout(90)
async def test_names_that_do_not_lead_here(
    authority: AcmeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Port 80 is closed at one, the other is not in the DNS: no certificate comes, and it is said what to look at."""
    certbot_ = tmp_path / "certbot"
    await asyncio.to_thread(certbot_.write_text, IMPATIENT.format(python=sys.executable))
    await asyncio.to_thread(certbot_.chmod, 0o755)
    monkeypatch.setattr(acme, "find_certbot", lambda: str(certbot_))
    with pytest.raises(CertificateError, match="No certificate came") as error:
        await certbot(authority, tmp_path).obtain([NAMES[0], "nowhere.test"])
    assert "port 80 must lead to this machine" in error.value.hint


def said(kind: str, detail: str) -> str:
    """Write a program that fails with an authority's refusal."""
    lines = (
        "The Certificate Authority reported these problems:",
        "  Domain: b.test",
        f"  Type:   {kind}",
        f"  Detail: {detail}",
    )
    return "".join(f"echo '{line}'\n" for line in lines) + "exit 1"


def program(tmp_path: Path, text: str) -> str:
    """Write a program that plays certbot."""
    path = tmp_path / "certbot"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("exit 0", "left no certificate", "https.md"),
        ("echo one; echo two; exit 1", "one two", "acme/logs"),
        (
            said("connection", "203.0.113.7: Timeout during connect (likely firewall problem)"),
            "firewall",
            "port 80",
        ),
        (said("dns", "DNS problem: NXDOMAIN looking up A for b.test"), "NXDOMAIN", "A or AAAA"),
        (said("rateLimited", "too many certificates"), "too many", "Wait"),
        ("echo All authorizations were not finalized by the CA.; exit 1", "not finalized", "port 80"),
    ],
)
async def test_a_certbot_that_misbehaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str, hint: str
) -> None:
    """One that does nothing or fails is a clear error with what to do; the words are as certbot prints them."""
    played = await asyncio.to_thread(program, tmp_path, text)
    monkeypatch.setattr(acme, "find_certbot", lambda: played)
    client = Certbot(HttpsSettings(mode="acme"), tmp_path / "acme", tmp_path / "webroot", {}, timeout=30)
    with pytest.raises(CertificateError, match=words) as error:
        await client.obtain(NAMES)
    assert hint in error.value.hint


async def test_a_certbot_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended when its time is over."""
    played = await asyncio.to_thread(program, tmp_path, "exec sleep 60")
    monkeypatch.setattr(acme, "find_certbot", lambda: played)
    client = Certbot(HttpsSettings(mode="acme"), tmp_path / "acme", tmp_path / "webroot", {}, timeout=0.5)
    with pytest.raises(CertificateError, match="did not come within"):
        await client.obtain(NAMES)


def test_a_kept_certificate_that_is_broken(tmp_path: Path) -> None:
    """Files that do not belong together are not used."""
    live = tmp_path / "config" / "live" / "binderlet"
    live.mkdir(parents=True)
    (live / "fullchain.pem").write_bytes(make_self_signed(NAMES, 0).pem)
    (live / "privkey.pem").write_text("nonsense")
    (live / "fullchain.pem").write_text("nonsense")
    with pytest.raises(CertificateError, match="cannot be read"):
        Certbot(HttpsSettings(), tmp_path, tmp_path, {}).kept()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["--webroot", "--webroot-path", "/w", "--domain", "*.b.test"]),
        ({}, ["--register-unsafely-without-email"]),
        ({"email": "a@b.test"}, ["--email", "a@b.test"]),
        (
            {"challenge": "dns", "dns_plugin": "cloudflare", "dns_credentials": "/c.ini"},
            ["--dns-cloudflare", "--dns-cloudflare-credentials", "/c.ini"],
        ),
        ({"challenge": "dns", "dns_plugin": "route53"}, ["--dns-route53", "--domain"]),
        (
            {"challenge": "dns", "dns_hook": "/h"},
            ["--preferred-challenges", "dns", "--manual-auth-hook", "/h", "--manual-cleanup-hook", "/h"],
        ),
    ],
)
def test_settings_become_arguments(settings: dict[str, str], expected: list[str]) -> None:
    """Each way of proving that a name is ours has its arguments."""
    made = Certbot(HttpsSettings.model_validate({"mode": "acme"} | settings), Path("/a"), Path("/w"), {})
    given = made.arguments(["*.b.test"])
    at = given.index(expected[0])
    assert given[at : at + len(expected)] == expected


def test_certbot_is_found_or_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The one that was installed with us, then the system's, then a sentence that says how to get it."""
    assert find_certbot().endswith("/certbot")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="certbot"):
        find_certbot()
    (tmp_path / "bin").mkdir()
    system = program(tmp_path / "bin", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_certbot() == system
