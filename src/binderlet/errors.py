"""Every error binderlet raises on purpose, in one tree.

::

    BinderletError
    |-- ConfigError             a setting is unknown, missing or wrong
    |-- BadSpec                 the URL does not name a repository
    |-- BadRange                days that are asked for are none
    |-- BadPrices               a table of prices is not of the form
    |-- UnknownProvider         no repo provider of that name is enabled
    |-- NotFound
    |   |-- RefNotFound         the repository has no such branch, tag or commit
    |   |-- RepositoryNotFound  there is no such repository, or it is private
    |   |-- SessionNotFound     no session of that id runs here
    |   `-- ReservationNotFound no reservation of that id is kept
    |-- Refused                 a refusal is not a failure: it says why and when to come back
    |   |-- Banned              the operator does not allow it
    |   |-- RateLimited         too many requests from one client
    |   |-- TokenInvalid        the build token is forged, stale or for another repository
    |   |-- Full                the machine holds all the sessions it may
    |   |-- RepositoryFull      this repository holds all the sessions it may
    |   |-- DiskFull            too little disk is left to build
    |   |-- StorageRefused      the object storage does not take these keys
    |   `-- StorageFull         the object storage takes no more
    |-- Unavailable             something outside does not answer now; trying again may help
    |   |-- EngineUnavailable   Docker or Podman
    |   |-- RouterUnavailable   HAProxy
    |   |-- ProviderUnavailable the repository's host
    |   |-- StoreUnavailable    the history database
    |   |-- StorageUnavailable  the object storage
    |   |-- ImagesUnavailable   the image registry
    |   |-- ArchiveUnavailable  an archive of launches
    |   `-- ServiceUnavailable  the control plane, for the command line
    |-- BuildFailed             the repository could not be made into an image
    |   |-- BuildTimeout        the deadline passed
    |   |-- BadRepository       a file in the repository is wrong, and which
    |   `-- RegistryUnreachable a package index, mirror or registry the build needs does not answer
    |-- LaunchFailed            the image is there but no session came of it
    |   |-- ImageMissing        the image went away between look-up and start
    |   |-- SessionDied         the session ended before it answered
    |   |-- SessionSilent       the session never answered
    |   `-- ImageRejected       what a registry sent is not what it was asked for
    |-- BackupUnreadable        a backup is damaged, cut off, or none at all
    |-- WrongKey                a key or passphrase does not open a backup
    |-- WouldOverwrite          files that are to be restored are there already
    |-- MissingProgram          a program that binderlet starts is not installed
    |-- AddressInUse            the port is taken
    `-- AlreadyRunning          another control plane runs on this machine

Each leaf has a ``status`` (HTTP), a ``code`` (for programs) and a ``hint`` (what to do next).
Foreign errors become one of these at the border, in ``clients/``.
"""

from __future__ import annotations

from typing import ClassVar


class BinderletError(Exception):
    """The root; ``str(error)`` is one or more full sentences that say what happened."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = "Look at the log for details."

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self._hint = hint

    @property
    def hint(self) -> str:
        """What to do next, for the person who reads the message."""
        return self._hint or self.default_hint


class ConfigError(BinderletError):
    """A setting is unknown, missing or wrong; the message starts with the key's path."""

    code = "config"
    default_hint = "Run 'binderlet config check'; docs/reference/config.md lists every key."


class BadSpec(BinderletError):
    """The URL does not name a repository."""

    status = 400
    code = "bad_spec"
    default_hint = "Make the link again with the form on the home page."


class BadRange(BinderletError):
    """The days that are asked for are none."""

    status = 400
    code = "bad_range"
    default_hint = "Write days as 2027-01-31, the first one before the last."


class BadPrices(BinderletError):
    """A table of prices is not of the form."""

    code = "bad_prices"
    default_hint = "docs/how-to/plan.md shows the form; every entry needs a source and a date."


class UnknownProvider(BinderletError):
    """No repo provider of that name is enabled."""

    status = 404
    code = "unknown_provider"
    default_hint = "GET /api/repoproviders lists the repo providers that are enabled."


class NotFound(BinderletError):
    """What was asked for does not exist."""

    status = 404
    code = "not_found"
    default_hint = "Check the spelling."


class RefNotFound(NotFound):
    """The repository has no such branch, tag or commit."""

    code = "ref_not_found"
    default_hint = "HEAD always means the repository's default branch."


class RepositoryNotFound(NotFound):
    """There is no such repository, or it is private."""

    code = "repository_not_found"
    default_hint = "Check the address, and that the repository is public."


class SessionNotFound(NotFound):
    """No session of that id runs here."""

    code = "session_not_found"
    default_hint = "It may have been culled. 'binderlet sessions' lists those that run."


class ReservationNotFound(NotFound):
    """No reservation of that id is kept."""

    code = "reservation_not_found"
    default_hint = "'binderlet reserve --list' shows the reservations that have not ended."


class Refused(BinderletError):
    """A refusal is not a failure: it says why, and when to come back."""

    status = 403
    code = "refused"
    retry_after: float | None = None
    """Seconds after which trying again makes sense; None where it never does."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Banned(Refused):
    """The operator does not allow this repository or client."""

    code = "banned"
    default_hint = "Write to the operators of this service if you think this is wrong."


class RateLimited(Refused):
    """Too many requests from one client."""

    status = 429
    code = "rate_limited"
    default_hint = "Wait for the time given, then try again."


class TokenInvalid(Refused):
    """The build token is forged, stale or for another repository."""

    code = "token_invalid"
    default_hint = "Reload the launch page: it carries a fresh token."


class Full(Refused):
    """The machine holds all the sessions it may."""

    status = 503
    code = "full"
    default_hint = "Try again in a few minutes; operators can raise limits.sessions."


class RepositoryFull(Refused):
    """This repository holds all the sessions it may."""

    status = 503
    code = "repository_full"
    default_hint = "Try again in a few minutes; operators can raise limits.per_repository."


class DiskFull(Refused):
    """Too little disk is left to build; sessions of built images still start."""

    status = 503
    code = "disk_full"
    default_hint = "Free some disk, for example with 'docker image prune'; builder.min_free_disk is the limit."


class StorageRefused(Refused):
    """The object storage, or the registry on it, does not take these credentials."""

    code = "storage_refused"
    default_hint = (
        "Check the keys under [registry]: are they expired, may they read and write the bucket, and is this machine's"
        " clock right ('timedatectl')?"
    )


class StorageFull(Refused):
    """The object storage takes no more; images that are built here still launch."""

    status = 507
    code = "storage_full"
    default_hint = "Raise the bucket's quota, or make room in it; pushing goes on by itself."


class Unavailable(BinderletError):
    """Something outside does not answer now; trying again may help."""

    status = 503
    code = "unavailable"


class EngineUnavailable(Unavailable):
    """The container engine does not answer."""

    code = "engine_unavailable"
    default_hint = "Is it running? 'systemctl status docker', and 'binderlet doctor' checks the socket."


class RouterUnavailable(Unavailable):
    """HAProxy does not answer on its socket."""

    code = "router_unavailable"
    default_hint = "'binderlet doctor' checks HAProxy; 'binderlet up' starts it again."


class ProviderUnavailable(Unavailable):
    """The repository's host does not answer, or refuses for now."""

    code = "provider_unavailable"
    default_hint = "Try again in a minute."


class StoreUnavailable(Unavailable):
    """The history database cannot be read or written."""

    code = "store_unavailable"
    default_hint = "Is the disk full or read-only? 'binderlet doctor' checks it."


class StorageUnavailable(Unavailable):
    """The object storage does not answer, or fails."""

    code = "storage_unavailable"
    default_hint = "Does registry.s3.endpoint answer from here? Nothing is lost: what waits is sent when it does."


class ImagesUnavailable(Unavailable):
    """The image registry does not answer, or fails; that never means that an image is missing."""

    code = "images_unavailable"
    default_hint = "Images that are on this machine still launch; 'binderlet status' and /health say what is wrong."


class ArchiveUnavailable(Unavailable):
    """An archive of launches cannot be read."""

    code = "archive_unavailable"
    default_hint = "Name a folder with files events-YYYY-MM-DD.jsonl, or a URL under which index.jsonl lists them."


class ServiceUnavailable(Unavailable):
    """The control plane does not answer on its socket."""

    code = "service_unavailable"
    default_hint = "Start it with 'binderlet up'."


class BuildFailed(BinderletError):
    """The repository could not be made into an image; its log says why."""

    code = "build_failed"
    default_hint = "The log shows the step that failed."


class BuildTimeout(BuildFailed):
    """The build's deadline passed."""

    code = "build_timeout"
    default_hint = "Make the environment smaller; operators can raise builder.timeout."


class BadRepository(BuildFailed):
    """A file in the repository is wrong; the message names it."""

    status = 422
    code = "bad_repository"
    default_hint = "Mend the file and launch the new commit."


class RegistryUnreachable(BuildFailed):
    """A package index, mirror or registry that the build needs does not answer."""

    status = 503
    code = "registry_unreachable"
    default_hint = "Set network.index_url, network.http_proxy or builder.base_mirror to one that answers from here."


class LaunchFailed(BinderletError):
    """The image is there but no session came of it."""

    code = "launch_failed"
    default_hint = "Try again; the session's last lines are in the log."


class ImageMissing(LaunchFailed):
    """The image went away between look-up and start."""

    code = "image_missing"
    default_hint = "Launch again: it will be built anew."


class SessionDied(LaunchFailed):
    """The session ended before it answered."""

    code = "session_died"
    default_hint = "If the repository has a 'start' script, it must end with: exec \"$@\""


class SessionSilent(LaunchFailed):
    """The session runs but never answered."""

    code = "session_silent"
    default_hint = "Operators can raise session.start_timeout."


class ImageRejected(LaunchFailed):
    """What a registry sent is not what it was asked for: another digest, or labels of another repository."""

    status = 502
    code = "image_rejected"
    default_hint = "The image is built here instead; look at that registry, or take it off registry.peers."


class BackupUnreadable(BinderletError):
    """A backup is damaged, cut off, or none at all; nothing of it is used."""

    code = "backup_unreadable"
    default_hint = "Take an older one: 'binderlet backup --list' shows what is there."


class WrongKey(BinderletError):
    """A key or passphrase does not open a backup."""

    status = 403
    code = "wrong_key"
    default_hint = "Check that it is the one of the machine and the time that the backup is from."


class WouldOverwrite(BinderletError):
    """Files that are to be restored are there already."""

    status = 409
    code = "would_overwrite"
    default_hint = "Restore into an empty folder (--set paths.state=...), or move these files away first."


class MissingProgram(BinderletError):
    """A program that binderlet starts is not installed."""

    code = "missing_program"
    default_hint = "'binderlet doctor' says which package has it."


class AddressInUse(BinderletError):
    """The port is taken by another program."""

    code = "address_in_use"
    default_hint = "Choose another with server.port or --port."


class AlreadyRunning(BinderletError):
    """Another control plane runs on this machine."""

    code = "already_running"
    default_hint = "'make stop' or 'binderlet stop-service' ends it; its log says where it listens."
