"""What git says on standard error, as one of our errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from binderlet.errors import (
    BadRepository,
    BinderletError,
    DiskFull,
    ProviderUnavailable,
    RefNotFound,
    RepositoryNotFound,
)

_NOT_ALLOWED: Final = re.compile(r"transport '([^']*)' not allowed")

_NO_SUCH_REF: Final = (
    r"couldn't find remote ref|remote ref .* not found|not our ref|unadvertised object|needed a single revision"
    r"|unknown revision|ambiguous argument|not a valid object name|reference is not a tree|no such remote ref"
    r"|did not contain [0-9a-f]{40}|unable to find current .* revision"
)
_NO_ANSWER: Final = (
    r"returned error: (?:5\d\d|429|407)|could not resolve (?:host|proxy)|name or service not known"
    r"|failed to connect|couldn't connect|connection (?:refused|timed out|reset|closed)|operation timed out"
    r"|network is unreachable|no route to host|early EOF|hung up|RPC failed|unexpected disconnect|temporary failure"
    r"|empty reply|host key verification failed|server error|unable to look up"
)
_NO_REPOSITORY: Final = (
    r"repository .* not found|not found in upstream|authentication failed|could not read (?:username|password)"
    r"|returned error: (?:401|403|404|410)|does not appear to be a git repository|permission denied"
    r"|does not exist|repository not found|access denied|not valid: is this a git repository"
    r"|invalid gitfile format|could not read from remote repository"
)


@dataclass(frozen=True, slots=True)
class _Meaning:
    pattern: str
    error: type[BinderletError]
    sentence: str
    hint: str = ""


# the first that fits: git often ends a specific complaint with a general one
_MEANINGS: Final = (
    _Meaning(r"no space left on device|disk quota exceeded", DiskFull, "The disk is full: {url} could not be fetched."),
    _Meaning(
        r"short (?:object ID|SHA1) \S+ is ambiguous",
        RefNotFound,
        "More than one commit of {url} starts with these digits.",
        "Give more digits of the commit.",
    ),
    _Meaning(_NO_SUCH_REF, RefNotFound, "{url} does not have the commit, branch or tag asked for."),
    _Meaning(
        r"certificate|SSL routines|gnutls_handshake|TLS connection",
        ProviderUnavailable,
        "No trusted connection to {url} could be made: {said}",
        "Operators can name the certificates to trust in network.ca_bundle.",
    ),
    _Meaning(_NO_ANSWER, ProviderUnavailable, "{url} does not answer now: {said}"),
    _Meaning(_NO_REPOSITORY, RepositoryNotFound, "There is no public git repository at {url}."),
)


def public_url(url: str) -> str:
    """Give a URL without the password and query it may carry, for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username if parts.username and not parts.password else ""
    return parts._replace(netloc=f"{user}@{host}" if user else host, query="", fragment="").geturl()


def error_from(said: str, url: str) -> BinderletError:
    """Make the error that git's words mean; words we do not know blame the repository, and are repeated.

    ``url`` is what the command was about, for the message.
    """
    shown = public_url(url)
    if refused := _NOT_ALLOWED.search(said):
        return BadRepository(
            f"{shown} leads to a URL of the protocol {refused[1]!r}, which is not allowed here.",
            hint="Operators can allow it in providers.git.allowed_protocols.",
        )
    for meaning in _MEANINGS:
        if re.search(meaning.pattern, said, re.IGNORECASE):
            sentence = meaning.sentence.format(url=shown, said=last_words(said, url))
            return meaning.error(sentence, hint=meaning.hint)
    return BadRepository(f"git could not read {shown}: {last_words(said, url)}")


def last_words(said: str, url: str) -> str:
    """Find the line of git's words that says most, without the URL's credentials."""
    lines = [line.strip() for line in said.replace(url, public_url(url)).splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or ["git said nothing"])[0].removeprefix("fatal: ").removeprefix("error: ")
