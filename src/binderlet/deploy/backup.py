"""Backups: what a new machine needs to go on, packed, encrypted, verified.

A backup is a compressed tar archive in an age file. Its first member, ``manifest.json``, has the size and the hash of
every other one, so that a restored file is known to be the one that was backed up. The history is copied by SQLite's
own online backup, from a database that may be in use. Images are not in it: they are in the bucket already.

All functions here block on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from binderlet import __version__
from binderlet.clients.age import Key, seal, unseal
from binderlet.database import copy_database, version_of
from binderlet.errors import BackupUnreadable, StoreUnavailable, WouldOverwrite
from binderlet.events.store import SCHEMA

FORMAT = 1
SUFFIX = ".tar.gz.age"
MANIFEST = "manifest.json"
HISTORY = "history.sqlite"
SETTINGS = "settings.toml"
FILES = ("build-token-secret", "pins.json", "standby/demand.json")
"""Files of the state folder that are copied as they are."""
ARCHIVE = "archive"
"""Folder of daily files that is copied."""
LARGEST_MANIFEST = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    service: str
    created_at: float
    """Seconds since the epoch."""
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Size and SHA-256 by name."""
    version: str = __version__

    def as_json(self) -> dict[str, Any]:
        """Give it for the archive."""
        return {
            "format": FORMAT,
            "service": self.service,
            "created_at": self.created_at,
            "version": self.version,
            "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in self.files.items()},
        }

    @classmethod
    def from_json(cls, body: Any) -> Manifest:  # noqa: ANN401 - JSON
        """Read it.

        Raises:
            BackupUnreadable: it is of a newer format, or makes no sense.
        """
        try:
            if body["format"] > FORMAT:
                raise BackupUnreadable("The backup was made by a newer binderlet.", hint="Update binderlet first.")
            files = {str(name): (int(each["size"]), str(each["sha256"])) for name, each in body["files"].items()}
            return cls(str(body["service"]), float(body["created_at"]), files, str(body["version"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BackupUnreadable(f"The backup's list of its files makes no sense: {error!r}.") from error


def backup_name(service: str, at: float) -> str:
    """Give the name of a backup's file; names of one service sort by time."""
    return f"{service}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}{SUFFIX}"


def make_backup(state: Path, settings: str, folder: Path, key: Key, *, service: str, at: float) -> Path:
    """Write a backup of the state folder into ``folder`` and give its path; half of one never has that name.

    ``settings`` is the text of a settings file.

    Raises:
        StoreUnavailable: the history cannot be read, or the disk does not take the backup.
        ConfigError: the key cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder) as name:
            work = Path(name)
            packed, sealed = work / "packed", work / "sealed"
            _pack(_collect(state, settings, work), packed, service, at)
            seal(packed, sealed, key)
            sealed.chmod(0o600)
            with sealed.open("rb") as file:
                os.fsync(file.fileno())
            return sealed.rename(folder / backup_name(service, at))
    except OSError as error:
        raise StoreUnavailable(f"The backup cannot be written to {folder}: {error.strerror or error}.") from error


def _collect(state: Path, settings: str, work: Path) -> dict[str, Path]:
    """Give the files to pack by their names in the archive."""
    found = {name: state / name for name in FILES if (state / name).is_file()}
    found |= {f"{ARCHIVE}/{path.name}": path for path in sorted((state / ARCHIVE).glob("*")) if path.is_file()}
    (work / SETTINGS).touch(mode=0o600)
    (work / SETTINGS).write_text(settings, encoding="utf-8")
    found[SETTINGS] = work / SETTINGS
    if (state / HISTORY).exists():
        copy_database(state / HISTORY, work / HISTORY)
        found[HISTORY] = work / HISTORY
    return found


def _pack(files: Mapping[str, Path], packed: Path, service: str, at: float) -> None:
    # Copies in memory one at a time: an archive's file of today may still grow.
    with tarfile.open(packed, "w:gz", compresslevel=6) as archive:
        described: dict[str, tuple[int, str]] = {}
        with tempfile.TemporaryDirectory(dir=packed.parent) as name:
            for number, (path_in, path) in enumerate(sorted(files.items())):
                copy = Path(name, str(number))
                shutil.copyfile(path, copy)
                described[path_in] = (copy.stat().st_size, _digest(copy))
            manifest = json.dumps(Manifest(service, at, described).as_json()).encode()
            _add(archive, MANIFEST, io.BytesIO(manifest), len(manifest))
            for number, path_in in enumerate(sorted(files)):
                with Path(name, str(number)).open("rb") as file:
                    _add(archive, path_in, file, described[path_in][0])


def _add(archive: tarfile.TarFile, name: str, content: Any, size: int) -> None:  # noqa: ANN401 - any binary file
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    archive.addfile(entry, content)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def opened_backup(sealed: Path, key: Key, beside: Path) -> Iterator[tuple[Manifest, Path]]:
    """Decrypt, unpack and verify a backup; gives what it says of itself, and the folder with its files.

    ``beside`` is where that folder is made; it is gone at the end.

    Raises:
        WrongKey: the key does not open it.
        BackupUnreadable: it is damaged, cut, or not whole.
    """
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=beside) as name:
        packed, files = Path(name, "packed"), Path(name, "files")
        unseal(sealed, packed, key)
        files.mkdir()
        try:
            manifest = _unpack(packed, files)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise BackupUnreadable(f"{sealed.name} cannot be unpacked: {error}.") from error
        packed.unlink()
        _check_history(files / HISTORY)
        yield manifest, files


def _unpack(packed: Path, files: Path) -> Manifest:
    """Write the files that the manifest names, and no others: names come from a file that somebody could have made."""
    with tarfile.open(packed, "r:gz") as archive:
        first = archive.next()
        if first is None or first.name != MANIFEST or first.size > LARGEST_MANIFEST:
            raise BackupUnreadable("The backup does not begin with the list of its files.")
        manifest = Manifest.from_json(json.loads(_content(archive, first).read()))
        missing = set(manifest.files)
        while (entry := archive.next()) is not None:
            if entry.name not in missing or not entry.isfile() or not _is_known(entry.name):
                raise BackupUnreadable(f"The backup has a file that should not be in it: {entry.name}.")
            target = files / entry.name
            target.parent.mkdir(exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(_content(archive, entry), file)
            if (target.stat().st_size, _digest(target)) != manifest.files[entry.name]:
                raise BackupUnreadable(f"{entry.name} in the backup is not the file that was backed up.")
            missing.remove(entry.name)
    if missing:
        raise BackupUnreadable(f"The backup lacks {', '.join(sorted(missing))}.")
    return manifest


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Any:  # noqa: ANN401 - a binary file
    content = archive.extractfile(entry)
    if content is None:
        raise BackupUnreadable(f"{entry.name} in the backup is no file.")
    return content


def _is_known(name: str) -> bool:
    folder, slash, rest = name.partition("/")
    is_archived = folder == ARCHIVE and slash and "/" not in rest and rest not in {"", ".", ".."}
    return bool(is_archived) or name in {HISTORY, SETTINGS, *FILES}


def _check_history(path: Path) -> None:
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            ((verdict,),) = database.execute("PRAGMA integrity_check(1)").fetchall()
            version = version_of(database)
    except sqlite3.Error as error:
        raise BackupUnreadable(f"The history in the backup cannot be read: {error}.") from error
    if verdict != "ok":
        raise BackupUnreadable(f"The history in the backup is damaged: {verdict}.")
    if SCHEMA.is_newer(version):
        raise BackupUnreadable(
            f"The history in the backup was made by a newer binderlet (schema {version}, this one has "
            f"{SCHEMA.version}).",
            hint="Update binderlet first.",
        )


def install(manifest: Manifest, files: Path, state: Path, settings_to: Path | None) -> list[Path]:
    """Put the files of an opened backup where a service looks for them; gives where they are now.

    Raises:
        WouldOverwrite: one of them is there already; nothing is changed.
        StoreUnavailable: the disk does not take them.
    """
    targets = {name: state / name for name in manifest.files if name != SETTINGS}
    if SETTINGS in manifest.files and settings_to is not None:
        targets[SETTINGS] = settings_to
    there = sorted(str(path) for path in targets.values() if path.exists())
    if there:
        raise WouldOverwrite(f"Restoring would overwrite {', '.join(there)}.")
    try:
        for name, path in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(files / name, path)
            path.chmod(0o600)
    except OSError as error:
        raise StoreUnavailable(f"The backup cannot be restored to {state}: {error.strerror or error}.") from error
    return sorted(targets.values())
