"""The port to places that hold repositories.

A repo provider answers two questions: which commit does a spec mean now, and what files are in that commit.
``tests/providers/test_contract.py`` runs against each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from binderlet.model import Commit

Log = Callable[[str], None]
"""Takes one line for the visitor, without a line end."""


class Provider(Protocol):
    """One repo provider. All methods may be called concurrently."""

    @property
    def id(self) -> str:
        """The path segment in ``/build/<id>/``, such as ``gh``."""

    @property
    def event_name(self) -> str:
        """The name in launch events, such as ``GitHub``."""

    @property
    def display(self) -> Mapping[str, Any]:
        """This provider's entry in ``/api/repoproviders``, in BinderHub's shape."""

    def check(self, spec: str) -> None:
        """Check the form of a spec without any I/O.

        Raises:
            BadSpec: it does not name a repository; the message says what form is expected.
        """

    async def resolve(self, spec: str) -> Commit:
        """Find the commit that a spec (percent-encoded, as in the URL) means now.

        A ref is matched exactly: ``main`` is never ``a/main``. Full SHAs are answered without I/O where the
        provider can.

        Raises:
            BadSpec: it does not name a repository.
            RepositoryNotFound: there is no such repository, or it needs credentials that we do not have.
            RefNotFound: the repository has no such branch, tag or commit.
            ProviderUnavailable: the host did not answer in time, or refuses for now.
        """

    async def fetch(self, commit: Commit, destination: Path, log: Log) -> None:
        """Put the files of a commit into ``destination``, with submodules and LFS files, and with ``.git``.

        ``destination`` is absent or empty before and complete after; after an error it is removed.

        Raises:
            RefNotFound: the commit is gone.
            RepositoryNotFound: the repository is gone.
            ProviderUnavailable: the host did not answer in time.
            BadRepository: it is larger than the limit, or a submodule cannot be fetched.
        """

    async def close(self) -> None:
        """Give back connections. Idempotent."""
