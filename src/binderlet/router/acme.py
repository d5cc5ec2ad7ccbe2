"""Gets a certificate from an ACME authority with certbot, run as a program with files of its own; no root is needed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from binderlet.clients.program import run_program
from binderlet.config.https import HttpsSettings
from binderlet.errors import MissingProgram
from binderlet.router.certificate import Certificate, CertificateError, join

NAME = "binderlet"
"""Of the certificate among certbot's own."""
TIMEOUT = 900.0
"""Seconds for one attempt: records in the DNS take minutes to be seen."""
REASONS = re.compile(r"^\s*(?:Detail: |Hint: |.*urn:ietf:params:acme:error:\w+ :: )(.*)$", re.MULTILINE)
HINTS = (
    (
        r"Max retries|ConnectionError|CERTIFICATE_VERIFY_FAILED|An unexpected error occurred",
        "https.directory must answer from this machine; network.https_proxy and network.ca_bundle say how.",
    ),
    (r"rateLimited|too many", "Wait, as the authority says; meanwhile try its staging directory."),
    (r"Type:\s+dns|NXDOMAIN|no valid A records", "Make an A or AAAA record that leads each name to this machine."),
    (
        r"Type:\s+(connection|unauthorized)|Timeout during connect|not finalized",
        "http://NAME/ on port 80 must lead to this machine: look at the firewall, and at server.port.",
    ),
)


class Certbot:
    """One account at one authority, kept in ``folder``; ``webroot`` is where answers to its questions are put.

    ``environment`` is added to this process's own, for proxies and certificates to trust.
    """

    def __init__(
        self,
        settings: HttpsSettings,
        folder: Path,
        webroot: Path,
        environment: Mapping[str, str],
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._webroot = webroot
        self._environment = environment
        self._timeout = timeout

    def kept(self) -> Certificate | None:
        """Give the certificate that was got last; blocks.

        Raises:
            CertificateError: its files are broken.
        """
        live = self._folder / "config" / "live" / NAME
        try:
            return join((live / "fullchain.pem").read_bytes(), (live / "privkey.pem").read_bytes())
        except FileNotFoundError:
            return None

    async def obtain(self, names: Sequence[str]) -> Certificate:
        """Get a new certificate for these names, even where the old one is still good.

        Raises:
            CertificateError: the authority refused or cannot be reached, in its own words, with what to do.
            MissingProgram: certbot is not installed.
        """
        program = await asyncio.to_thread(find_certbot)
        await asyncio.to_thread(self._webroot.mkdir, parents=True, exist_ok=True)
        command = [program, *self.arguments(names)]
        environment = os.environ | dict(self._environment)
        try:
            code, said = await run_program(command, seconds=self._timeout, environment=environment, errors=True)
        except TimeoutError as error:
            raise CertificateError(f"The certificate did not come within {self._timeout:g} s.") from error
        if code:
            raise self._error(said)
        found = await asyncio.to_thread(self.kept)
        if found is None:
            raise CertificateError(f"certbot left no certificate in {self._folder}.")
        return found

    def arguments(self, names: Sequence[str]) -> list[str]:
        """Give certbot's arguments."""
        email = self._settings.email
        return [
            "certonly",
            *("--non-interactive", "--agree-tos", "--force-renewal", "--renew-with-new-domains"),
            *(("--email", email, "--no-eff-email") if email else ("--register-unsafely-without-email",)),
            *("--server", self._settings.directory.rstrip("/")),
            *("--cert-name", NAME),
            *(
                part
                for folder in ("config", "work", "logs")
                for part in (f"--{folder}-dir", str(self._folder / folder))
            ),
            *self._challenge(),
            *(part for name in names for part in ("--domain", name)),
        ]

    def _challenge(self) -> list[str]:
        settings = self._settings
        if settings.challenge == "http":
            return ["--webroot", "--webroot-path", str(self._webroot)]
        if settings.dns_hook:
            hook = settings.dns_hook
            return [
                *("--manual", "--preferred-challenges", "dns"),
                *("--manual-auth-hook", hook, "--manual-cleanup-hook", hook),
            ]
        plugin = f"--dns-{settings.dns_plugin}"
        credentials = settings.dns_credentials
        return [plugin, *([f"{plugin}-credentials", credentials] if credentials else [])]

    def _error(self, said: str) -> CertificateError:
        reasons = [reason.strip() for reason in REASONS.findall(said)]
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        words = " ".join(dict.fromkeys(reasons)) or " ".join(lines[-3:])
        hint = next((hint for pattern, hint in HINTS if re.search(pattern, said)), "")
        return CertificateError(
            f"No certificate came from {self._settings.directory} It says: {words[:600]}",
            hint=hint or f"The whole story is in {self._folder / 'logs'}.",
        )


def find_certbot() -> str:
    """Find certbot: the one installed with us, or else the system's; blocks.

    Raises:
        MissingProgram: there is none.
    """
    beside = Path(sys.executable).with_name("certbot")
    found = str(beside) if beside.exists() else shutil.which("certbot")
    if found is None:
        raise MissingProgram("certbot is not installed.", hint="pip install certbot, or apt-get install certbot")
    return found
