"""Looking at a member over real HTTP and TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from binderlet.federation import join_probes
from binderlet.federation.join_probes import certificate_days, look_at_federation, look_outside, newest
from support.loopback import Request
from support.members import FakeMember, silent

FED = "https://fed.test"


class Member(FakeMember):
    """Also refuses launches as a Binder does, and shows launch pages with a token."""

    event = 'data: {"phase": "failed"}\n\n'
    origin = "*"
    token = '"buildToken":"t.o.k"'
    index = ""

    def answer(self, request: Request) -> None:
        """Answer one request."""
        if self.state.gone or not request.path.startswith(("/build/", "/v2/", "/archive/")):
            super().answer(request)
        elif request.path.startswith("/build/"):
            request.reply(200, self.event.encode(), Access_Control_Allow_Origin=self.origin)
        elif request.path.startswith("/v2/"):
            request.reply(200, f"<script>{{{self.token}}}</script>".encode())
        else:
            request.reply(200 if self.index else 404, self.index.encode())


@pytest.fixture
def member() -> Iterator[Member]:
    """One member."""
    with Member("m") as found:
        yield found


async def test_a_member_that_is_well(member: Member) -> None:
    """Everything that a redirector and a browser need is looked at."""
    member.state.quota = 9
    found = await look_outside(member.base, FED)
    assert (found.error, found.certificate_days, found.has_quota) == ("", None, True)
    assert (found.build_origin, found.build_answer) == ("*", '{"phase": "failed"}')
    assert found.report.trouble == ""


async def test_what_is_missing(member: Member) -> None:
    """A launch that is not answered with an event, and a member that is not there, are seen."""
    member.event, member.origin = "<html>", ""
    found = await look_outside(member.base, FED)
    assert (found.build_origin, found.build_answer, found.has_quota) == ("", "", False)
    member.state.gone = True
    assert (await look_outside(member.base, FED)).error


async def test_a_launch_that_is_cut(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that closes the connection at a launch has no answer."""

    def close(request: Request) -> None:
        """Close without a word."""
        if request.path.startswith("/build/"):
            request.connection.close()
            raise BrokenPipeError
        Member.answer(member, request)

    monkeypatch.setattr(member._server, "answer", close)
    assert (await look_outside(member.base, FED)).build_answer == ""


async def test_archive(member: Member) -> None:
    """The published archive is looked at where it was named."""
    address = f"{member.base}/archive/"
    assert "no index.jsonl" in (await look_outside(member.base, FED, address)).archive
    member.index = "nonsense\n"
    assert "names no day" in (await look_outside(member.base, FED, address)).archive
    member.index = json.dumps({"name": "x", "date": f"{datetime.now(UTC):%Y-%m-%d}", "count": "3"})
    age = (await look_outside(member.base, FED, address)).archive_age_days
    assert age is not None
    assert age <= 1
    assert "no index.jsonl" in (await look_outside(member.base, FED, "http://127.0.0.1:9/x")).archive


def test_newest() -> None:
    """The last day counts."""
    assert newest(b'{"date": "2020-01-01"}\n{"x": 1}\n[]\n{"date": "2020-01-02"}') == pytest.approx(
        (datetime.now(UTC) - datetime(2020, 1, 2, tzinfo=UTC)).total_seconds() / 86400, abs=1
    )


async def test_the_federation(member: Member) -> None:
    """The federation's versions are read, and the token of its own page is tried with the member's secret."""
    said: list[tuple[str, ...]] = []

    def verify(*given: str) -> str:
        """Take the token down."""
        said.append(given)
        return "no"

    versions, token = await look_at_federation(member.base, verify)
    assert versions == member.state.versions
    assert token == "no"
    host = member.base.partition("://")[2]
    assert said == [("t.o.k", "gh", "binder-examples/requirements/HEAD", host)]
    assert await look_at_federation(member.base, None) == (versions, None)
    member.state.gone = True
    assert await look_at_federation(member.base, verify) == (None, None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, good for thirty days, and its key, in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{file}.key", "-out", f"{file}.crt"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    file.write_text(Path(f"{file}.key").read_text() + Path(f"{file}.crt").read_text())
    return file


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[int]:
    """A port that speaks TLS and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(context.load_cert_chain, certificate)

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Close."""
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_the_certificate(secure: int, certificate: Path) -> None:
    """The days that a certificate has left are counted; one that nobody signed is an error."""
    trusted = await asyncio.to_thread(lambda: ssl.create_default_context(cafile=certificate))
    days = await certificate_days(f"https://localhost:{secure}", trusted)
    assert days is not None
    assert 29 < days <= 30
    with pytest.raises(ssl.SSLError):
        await certificate_days(f"https://localhost:{secure}")
    assert await certificate_days("http://localhost") is None
    seen = await look_outside(f"https://localhost:{secure}", FED, ca=trusted)
    assert seen.error
    assert await look_at_federation(f"https://localhost:{secure}", None, ca=trusted) == (None, None)


async def test_a_silent_federation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A federation that takes the connection and says nothing has no versions."""
    monkeypatch.setattr(join_probes, "TIMEOUT", 0.1)
    async with silent() as url:
        assert await look_at_federation(url, None) == (None, None)
