"""What git says, as errors."""

from __future__ import annotations

import pytest

from binderlet.clients.git_errors import error_from, last_words, public_url
from binderlet.errors import (
    BadRepository,
    BinderletError,
    DiskFull,
    ProviderUnavailable,
    RefNotFound,
    RepositoryNotFound,
)

URL = "https://git.example.org/a/b"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("fatal: repository 'https://git.example.org/a/b/' not found", RepositoryNotFound),
        ("fatal: Authentication failed for 'https://git.example.org/a/b/'", RepositoryNotFound),
        ("fatal: could not read Username for 'https://git.example.org': terminal prompts disabled", RepositoryNotFound),
        ("fatal: unable to access '…': The requested URL returned error: 403", RepositoryNotFound),
        (
            "fatal: '/srv/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
            RepositoryNotFound,
        ),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", RepositoryNotFound),
        ("fatal: unable to access '…': The requested URL returned error: 503", ProviderUnavailable),
        ("fatal: unable to access '…': The requested URL returned error: 429", ProviderUnavailable),
        ("fatal: unable to access '…': Could not resolve host: git.example.org", ProviderUnavailable),
        (
            "fatal: unable to access '…': Failed to connect to git.example.org port 443: Connection refused",
            ProviderUnavailable,
        ),
        (
            "ssh: connect to host h port 22: Connection timed out\nfatal: Could not read from remote repository.",
            ProviderUnavailable,
        ),
        ("Host key verification failed.\nfatal: Could not read from remote repository.", ProviderUnavailable),
        ("error: RPC failed; curl 18 transfer closed with outstanding read data remaining", ProviderUnavailable),
        ("fatal: the remote end hung up unexpectedly", ProviderUnavailable),
        ("fatal: unable to access '…': server certificate verification failed. CAfile: none", ProviderUnavailable),
        ("fatal: couldn't find remote ref refs/heads/x", RefNotFound),
        ("fatal: remote error: upload-pack: not our ref 0123", RefNotFound),
        ("error: Server does not allow request for unadvertised object 0123", RefNotFound),
        ("error: short object ID 0123 is ambiguous\nfatal: Needed a single revision", RefNotFound),
        ("fatal: Needed a single revision", RefNotFound),
        ("fatal: write error: No space left on device", DiskFull),
        ("fatal: transport 'file' not allowed", BadRepository),
        ("fatal: bad object 0123", BadRepository),
        ("", BadRepository),
    ],
)
def test_meanings(said: str, error: type[BinderletError]) -> None:
    """Each of git's complaints has its own error, which names the URL."""
    caught = error_from(said, URL)
    assert type(caught) is error
    assert URL in caught.message


def test_ambiguous_says_what_to_do() -> None:
    """An ambiguous short id asks for more digits."""
    assert "more digits" in error_from("error: short object ID 01 is ambiguous", URL).hint


def test_certificates_hint() -> None:
    """A certificate nobody trusts leads to the setting."""
    assert "network.ca_bundle" in error_from("SSL certificate problem: self-signed certificate", URL).hint


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:secret@h:8/a?token=1#x", "https://h:8/a"),
        ("ssh://git@h/a", "ssh://git@h/a"),
        ("file:///srv/a", "file:///srv/a"),
        ("https://h/a", "https://h/a"),
    ],
)
def test_public_url(url: str, shown: str) -> None:
    """Passwords and queries are not shown."""
    assert public_url(url) == shown


def test_last_words() -> None:
    """The fatal line says most, and holds no password."""
    url = "https://u:secret@h/a"
    assert last_words(f"remote: hi\nfatal: broken {url}\nmore", url) == "broken https://h/a"
    assert last_words("only this\n", url) == "only this"
    assert last_words("", url) == "git said nothing"
