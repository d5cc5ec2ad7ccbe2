"""Options that several commands share, each passed on by all of them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from binderlet.cli.asked import Asked, given, values
from binderlet.cli.main import app
from binderlet.deploy.install import release, remote
from binderlet.deploy.install.release import Release
from binderlet.errors import ConfigError
from support.command import Command

EXCEPTIONS = {
    "deploy": {"units", "asked_in"},
    "cloud-init": {"units", "asked_in", "dry_run", "wheel"},
}
"""What 'install' has for its own purposes; user-data has no dry run, and names its release by --source."""
EACH = {
    "domain": (["--domain", "b.org"], {"domain": "b.org"}),
    "email": (["--email", "a@b.org"], {"email": "a@b.org"}),
    "https": (["--no-https"], {"https": False}),
    "firewall": (["--no-firewall"], {"firewall": False}),
    "swap": (["--no-swap"], {"swap": False}),
    "updates": (["--no-updates"], {"updates": False}),
    "ssh_port": (["--ssh-port", "2222"], {"ssh_port": 2222}),
    "s3": (
        ["--s3", "https://s3.example.org/images"],
        {
            "settings": {
                "registry.s3.endpoint": "https://s3.example.org/",
                "registry.s3.bucket": "images",
                "registry.s3.access_key": "a",
                "registry.s3.secret_key": "s3cret",
            }
        },
    ),
    "federation": (["--federation", "https://f.org/"], {"settings": {"federation.url": "https://f.org/"}}),
    "keys": (["--set", "pages.title=It's ours"], {"settings": {"pages.title": "It's ours"}}),
}
"""Each option, and what another machine is asked for."""


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, where no settings file lies about, and the keys of a bucket are in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    return Command(tmp_path, capsys)


def parameters(name: str) -> set[str]:
    """Name the options of a command."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    return {each.name for each in commands[name].params}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_no_option_is_forgotten(name: str) -> None:
    """What 'install' takes, the others take; exceptions are named."""
    assert parameters("install") - parameters(name) == EXCEPTIONS[name]
    assert {each.name for each in fields(Asked)} <= parameters(name)
    assert EACH.keys() == {each.name for each in fields(Asked)}


@pytest.mark.parametrize("option", EACH)
def test_each_is_passed_on(command: Command, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """Another machine is asked for the same, by ssh and by user-data; nothing of it is on its command line."""
    seen = list[object]()
    monkeypatch.setattr(release, "this_release", lambda *_: Release(Path("w"), Path("l")))
    monkeypatch.setattr(remote, "deploy", lambda *given, **_: seen.append(given[2]))
    arguments, expected = EACH[option]
    assert command("deploy", "host", *arguments, state=False) == 0, command.err
    assert seen == [expected]
    assert command("cloud-init", *arguments, state=False) == 0, command.err
    read = yaml.safe_load(command.out)
    assert json.loads(read["write_files"][0]["content"]) == expected
    assert "s3cret" not in str(read["runcmd"])
    assert ("holds keys" in command.err) is (option == "s3")


def test_what_was_not_given_is_not_asked_for() -> None:
    """It stays as it is where something is installed."""
    assert given(Asked()) == {}
    with pytest.raises(ConfigError, match="HOST/BUCKET"):
        given(Asked(s3="s3://b"))


def test_values_are_what_toml_has() -> None:
    """Numbers and lists are such, all else is text."""
    text = ["a.b=1", "a.c=true", "a.d=[1]", "a.e=10m", "a.f=127.0.0.1"]
    assert values(text) == {"a.b": 1, "a.c": True, "a.d": [1], "a.e": "10m", "a.f": "127.0.0.1"}
    assert values(None) == {}
