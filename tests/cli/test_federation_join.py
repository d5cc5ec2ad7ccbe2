"""What ``federation join`` sees of this machine."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.api.tokens import BuildTokens
from binderlet.cli.federation_join import gather, inside_of, print_findings, verifier
from binderlet.config import Settings
from binderlet.federation.join import Inside, Outside, Seen
from binderlet.finding import Finding
from support.members import FakeMember

SECRET = "ab" * 32


def test_the_settings_are_seen(tmp_path: Path) -> None:
    """What the settings say is taken; without settings there is nothing."""
    settings = Settings.model_validate(
        {"federation": {"url": "https://fed.test"}, "sponsor": {"name": "X"}, "paths": {"state": tmp_path}}
    )
    assert inside_of(None) is None
    assert inside_of(settings) == Inside("", "https://fed.test/", True, "", False, "X", False)


def test_the_secret(tmp_path: Path) -> None:
    """A token is tried with the secret of the settings, or with the one that the service made for itself."""
    own = Settings.model_validate({"paths": {"state": tmp_path}})
    assert verifier(own) is None
    token = BuildTokens(SECRET).make("gh", "o/r/HEAD", "fed.test", time.time())
    (tmp_path / "build-token-secret").write_text("cd" * 32 + "\n")
    shared = Settings.model_validate({"security": {"build_token_secret": SECRET}})
    for settings, accepted in ((own, False), (shared, True)):
        verify = verifier(settings)
        assert verify is not None
        assert (verify(token, "gh", "o/r/HEAD", "fed.test") == "") is accepted


@pytest.mark.parametrize(("name", "called"), [("", "127"), ("x", "x")])
async def test_gather(tmp_path: Path, name: str, called: str) -> None:
    """From outside and inside at once; without a public URL the service's own port is looked at."""
    with FakeMember("m") as member:
        port = int(member.base.rpartition(":")[2])
        settings = Settings.model_validate({"server": {"port": port}, "paths": {"state": tmp_path}})
        seen = await gather(member.base, "", name, "", settings)
        assert (seen.name, seen.outside.url, seen.outside.error) == (called, member.base, "")
        assert seen.expected == member.state.versions
        assert (await gather(member.base, member.base, name, "", None)).inside is None


async def test_nothing_there(tmp_path: Path) -> None:
    """A machine without a name is looked at by its port."""
    seen = await gather("http://127.0.0.1:9", "", "", "", None)
    assert seen.outside.url == "http://127.0.0.1:80"


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Findings with their mends, the verdict, and the entry for both kinds of file."""
    seen = Seen("m", "https://fed.test", Outside("https://m.test"))
    print_findings([Finding("TLS", "ok", "good"), Finding("CORS", "fail", "none", "set it")], seen, 10)
    out = capsys.readouterr().out
    assert "mend: set it" in out
    assert "1 to mend" in out
    assert '"health": "https://m.test/health"' in out
    print_findings([Finding("TLS", "ok", "good")], replace(seen), 10)
    assert "Ready to join." in capsys.readouterr().out
