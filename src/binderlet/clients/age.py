"""Files encrypted in age's format (age-encryption.org): its own tools read them, too.

Every byte is authenticated, and so is the end: a file that was changed or cut is never taken for whole.
pyrage is imported by the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from binderlet.errors import BackupUnreadable, ConfigError, WrongKey

MAGIC = b"age-encryption.org/v1\n"
BY_PASSPHRASE = b"-> scrypt "


@dataclass(frozen=True, slots=True)
class Key:
    """What encrypts or decrypts: a passphrase, or keys of age."""

    passphrase: str = field(default="", repr=False)
    recipients: Sequence[str] = ()
    """Public keys, ``age1...``."""
    identities: Sequence[str] = field(default=(), repr=False)
    """Secret keys, ``AGE-SECRET-KEY-1...``."""

    def __bool__(self) -> bool:
        return bool(self.passphrase or self.recipients or self.identities)


def seal(plain: Path, sealed: Path, key: Key) -> None:
    """Encrypt a file into another. With a passphrase all of it is held in memory.

    Raises:
        ConfigError: a recipient is not a public key of age.
    """
    import pyrage  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    if key.passphrase:
        sealed.write_bytes(pyrage.passphrase.encrypt(plain.read_bytes(), key.passphrase))
        return
    recipients = [_parsed(pyrage.x25519.Recipient, text, "a public key of age (age1...)") for text in key.recipients]
    with plain.open("rb") as source, sealed.open("wb") as target:
        pyrage.encrypt_io(source, target, recipients)


def unseal(sealed: Path, plain: Path, key: Key) -> None:
    """Decrypt a file into another, which is complete when this returns; after an error it must not be used.

    Raises:
        WrongKey: the key does not open it, or is of the wrong kind.
        BackupUnreadable: it is damaged, cut, or no such file.
        ConfigError: an identity is not a secret key of age.
    """
    import pyrage  # noqa: PLC0415 - see above

    _check_kind(sealed, key)
    identities = [
        _parsed(pyrage.x25519.Identity, text, "a secret key of age (AGE-SECRET-KEY-1...)") for text in key.identities
    ]
    try:
        if key.passphrase:
            plain.write_bytes(pyrage.passphrase.decrypt(sealed.read_bytes(), key.passphrase))
            return
        with sealed.open("rb") as source, plain.open("wb") as target:
            pyrage.decrypt_io(source, target, identities)
    except (pyrage.DecryptError, OSError, ValueError) as error:
        said = str(error)
        if said in {"Decryption failed", "No matching keys found"}:
            what = "passphrase" if key.passphrase else "key"
            raise WrongKey(f"This {what} does not open {sealed.name}.") from error
        raise BackupUnreadable(f"{sealed.name} is damaged or was cut off: {said}.") from error


def _check_kind(sealed: Path, key: Key) -> None:
    with sealed.open("rb") as file:
        start = file.read(len(MAGIC) + len(BY_PASSPHRASE))
    if not start.startswith(MAGIC):
        raise BackupUnreadable(f"{sealed.name} is no backup: it does not begin as age's files do.")
    needs_passphrase = start[len(MAGIC) :].startswith(BY_PASSPHRASE)
    if needs_passphrase != bool(key.passphrase):
        needed, flag = ("a passphrase", "--passphrase-file") if needs_passphrase else ("a key", "--identity-file")
        raise WrongKey(f"{sealed.name} is encrypted with {needed}.", hint=f"Give it with {flag}.")


def _parsed(kind: Any, text: str, what: str) -> Any:  # noqa: ANN401 - pyrage's types are known where it is installed
    import pyrage  # noqa: PLC0415 - see above

    try:
        return kind.from_str(text.strip())
    except (pyrage.RecipientError, pyrage.IdentityError) as error:
        shown = "what was given" if "SECRET" in text.upper() or "secret" in what else repr(text)
        raise ConfigError(f"backup: {shown} is not {what}.") from error
