"""Keeps a good certificate where HAProxy reads it, and swaps it while visitors work.

HTTPS begins with a self-signed certificate at once; the authority's follows when it comes. One that cannot be renewed
is tried again and again, less often each time, and the old one goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from binderlet.config.https import HttpsSettings
from binderlet.errors import BinderletError
from binderlet.model import Check
from binderlet.router.certificate import Certificate, CertificateError, covers, join, make_self_signed, read
from binderlet.router.route_file import write_atomically

log = structlog.get_logger(__name__)

EVERY = 60.0
"""Seconds between looks at the clock, and at the operator's own files."""
PATIENCE = (60.0, 300.0, 1800.0, 7200.0, 43200.0)
"""Seconds to wait after the first, second, ... failure: authorities take few failures an hour."""
SOON = 7 * 86400.0
"""A certificate that ends within this time and was not renewed is something to wake up for."""


class Authority(Protocol):
    """Where certificates come from."""

    def kept(self) -> Certificate | None:
        """Give the one that was got last; blocks."""

    async def obtain(self, names: Sequence[str]) -> Certificate:
        """Get a new one.

        Raises:
            BinderletError: none came.
        """


@dataclass(frozen=True, slots=True)
class Attempts:
    """How asking the authority went."""

    failures: int = 0
    """In a row."""
    last: float = 0.0
    error: str = ""


def is_due(certificate: Certificate, names: Sequence[str], attempts: Attempts, now: float, renew_before: float) -> bool:
    """Whether the authority is to be asked now."""
    good = (
        not certificate.self_signed
        and certificate.not_after - now > renew_before
        and all(covers(certificate, name) for name in names)
    )
    if good:
        return False
    if not attempts.failures:
        return True
    return now >= attempts.last + PATIENCE[min(attempts.failures, len(PATIENCE)) - 1]


class Https:
    """``prepare`` before HAProxy starts, then ``run``. ``swap`` gives HAProxy a new certificate while it runs.

    ``mode`` is of HAProxy's file.
    """

    def __init__(
        self,
        settings: HttpsSettings,
        names: Sequence[str],
        file: Path,
        authority: Authority,
        swap: Callable[[bytes], Awaitable[None]],
        *,
        mode: int = 0o600,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._mode = mode
        self._names = names
        self._file = file
        self._authority = authority
        self._swap = swap
        self._clock = clock
        self._sleep = sleep
        self._attempts = Attempts()
        self._certificate: Certificate | None = None
        self._in_use = b""
        """What HAProxy has."""

    async def prepare(self) -> None:
        """Put the best certificate there is into HAProxy's file.

        Raises:
            CertificateError: the operator's own files cannot be used.
        """
        self._certificate = await asyncio.to_thread(self._best)
        self._in_use = self._certificate.pem
        await asyncio.to_thread(self._write, self._certificate.pem)

    async def run(self) -> None:
        """Renew when it is time, until cancelled."""
        while True:
            await self.look()
            await self._sleep(EVERY)

    async def look(self) -> None:
        """Renew, or take over the operator's new files, if it is time; errors become the check's."""
        try:
            if files := self._settings.own_files:
                self._certificate = await asyncio.to_thread(own, *files)
                self._attempts = Attempts()
            elif self._certificate and is_due(
                self._certificate, self._names, self._attempts, self._clock(), self._settings.renew_before
            ):
                self._certificate = await self._authority.obtain(self._names)
                self._attempts = Attempts()
                log.info("certificate renewed", names=sorted(self._certificate.names))
            await self._show()
        except BinderletError as error:
            words = f"{error.message} {error.hint}"
            self._attempts = Attempts(self._attempts.failures + 1, self._clock(), words)
            log.warning("no new certificate", error=words, failures=self._attempts.failures)

    @property
    def not_after(self) -> float:
        """When the certificate ends, in seconds since 1970; 0 before ``prepare``."""
        return self._certificate.not_after if self._certificate else 0.0

    def check(self) -> Check:
        """Say how the certificate is, for ``/health``; from memory."""
        found, failure = self._certificate, self._attempts.error
        if found is None:
            return Check("Certificate", ok=False, message="There is none yet.")
        left = found.not_after - self._clock()
        if found.self_signed and not self._settings.own_files:
            message = failure or "The authority is being asked."
            return Check("Certificate", ok=False, message=message, ignore_failure=True)
        ends = f"good for {left / 86400:.0f} days" if left > 0 else "it has ended"
        fine = left > SOON and not (failure and self._settings.own_files)
        return Check("Certificate", ok=fine, message=f"{ends}. {failure}".strip(), ignore_failure=left > 0)

    async def _show(self) -> None:
        """Give HAProxy the certificate if it has another."""
        if self._certificate is None or self._certificate.pem == self._in_use:
            return
        await asyncio.to_thread(self._write, self._certificate.pem)
        await self._swap(self._certificate.pem)
        self._in_use = self._certificate.pem

    def _best(self) -> Certificate:
        if files := self._settings.own_files:
            return own(*files)
        try:
            kept = self._authority.kept() or self._in_file()
        except CertificateError as error:
            log.warning("the kept certificate cannot be used", error=error.message)
            kept = None
        if kept and kept.not_after > self._clock() and all(covers(kept, name) for name in self._names):
            return kept
        return make_self_signed(self._names, self._clock())

    def _in_file(self) -> Certificate | None:
        return read(self._file.read_bytes()) if self._file.exists() else None

    def _write(self, pem: bytes) -> None:
        write_atomically(self._file, pem.decode("ascii"), mode=self._mode)


def own(chain: Path, key: Path) -> Certificate:
    """Read the operator's files; blocks.

    Raises:
        CertificateError: they cannot be read or used.
    """
    try:
        return join(chain.read_bytes(), key.read_bytes())
    except OSError as error:
        raise CertificateError(f"{error.filename} cannot be read: {error.strerror}.") from error
