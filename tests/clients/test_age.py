"""Files in age's format: what is damaged, cut or not for this key is never taken for whole."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from binderlet.clients.age import Key, seal, unseal
from binderlet.errors import BackupUnreadable, ConfigError, WrongKey

TEXT = b"something secret " * 20_000


@pytest.fixture(scope="module")
def pair() -> Key:
    """A pair of keys."""
    made = pyrage.x25519.Identity.generate()
    return Key(recipients=[str(made.to_public())], identities=[str(made)])


@pytest.fixture(params=["passphrase", "pair"])
def key(request: pytest.FixtureRequest, pair: Key) -> Key:
    """Each kind of key."""
    return pair if request.param == "pair" else Key(passphrase="correct horse")


@pytest.fixture
def sealed(tmp_path: Path, key: Key) -> Path:
    """A file that was encrypted."""
    (tmp_path / "plain").write_bytes(TEXT)
    seal(tmp_path / "plain", tmp_path / "sealed", key)
    return tmp_path / "sealed"


def test_there_and_back(sealed: Path, key: Key) -> None:
    """What was sealed is unsealed byte by byte, and cannot be read in between."""
    assert b"secret" not in sealed.read_bytes()
    unseal(sealed, sealed.with_name("again"), key)
    assert sealed.with_name("again").read_bytes() == TEXT


def test_another_key(sealed: Path, key: Key, pair: Key) -> None:
    """A wrong key is said to be wrong, and one of the wrong kind which kind is needed."""
    other = pyrage.x25519.Identity.generate()
    wrong = Key(passphrase="wrong") if key.passphrase else Key(identities=[str(other)])
    with pytest.raises(WrongKey, match="does not open sealed"):
        unseal(sealed, sealed.with_name("again"), wrong)
    kind, needed = (pair, "a passphrase") if key.passphrase else (Key(passphrase="x"), "a key")
    with pytest.raises(WrongKey, match=needed):
        unseal(sealed, sealed.with_name("again"), kind)


@pytest.fixture
def sealed_for_pair(tmp_path: Path, pair: Key) -> Path:
    """A file that was encrypted with a public key: a passphrase is slow on purpose."""
    (tmp_path / "plain").write_bytes(TEXT)
    seal(tmp_path / "plain", tmp_path / "sealed", pair)
    return tmp_path / "sealed"


@pytest.mark.parametrize("damage", ["cut", "cut at a block", "changed", "longer", "empty", "something else"])
def test_damage(sealed_for_pair: Path, pair: Key, damage: str) -> None:
    """However a file is damaged, it is not opened."""
    sealed, body = sealed_for_pair, sealed_for_pair.read_bytes()
    middle = len(body) // 2
    sealed.write_bytes(
        {
            "cut": body[:-1],
            "cut at a block": body[: len(body) - (len(TEXT) % 65536 + 16)],
            "changed": body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :],
            "longer": body + b"x",
            "empty": b"",
            "something else": b"PK\x03\x04" + body,
        }[damage]
    )
    with pytest.raises(BackupUnreadable):
        unseal(sealed, sealed.with_name("again"), pair)


def test_a_cut_file_with_a_passphrase(sealed: Path, key: Key) -> None:
    """The same with a passphrase."""
    sealed.write_bytes(sealed.read_bytes()[:-1])
    with pytest.raises(BackupUnreadable):
        unseal(sealed, sealed.with_name("again"), key)


def test_keys_that_are_none(tmp_path: Path, pair: Key) -> None:
    """A key that makes no sense is a mistake in the settings; a secret one is not repeated."""
    (tmp_path / "plain").write_bytes(b"x")
    with pytest.raises(ConfigError, match="'nonsense' is not a public key"):
        seal(tmp_path / "plain", tmp_path / "sealed", Key(recipients=["nonsense"]))
    seal(tmp_path / "plain", tmp_path / "sealed", pair)
    with pytest.raises(ConfigError) as caught:
        unseal(tmp_path / "sealed", tmp_path / "again", Key(identities=["my-precious"]))
    assert "my-precious" not in str(caught.value)
    assert "precious" not in repr(Key(passphrase="precious", identities=["precious"]))
    assert not Key()


def test_ages_own_program_reads_them(tmp_path: Path, pair: Key) -> None:
    """What is sealed for a public key is opened by the program of that name, where it is installed."""
    program = shutil.which("age")
    if program is None:
        pytest.skip("age is not installed")
    (tmp_path / "plain").write_bytes(TEXT)
    seal(tmp_path / "plain", tmp_path / "sealed", pair)
    (tmp_path / "key").write_text(pair.identities[0])
    command = [program, "--decrypt", "--identity", str(tmp_path / "key"), str(tmp_path / "sealed")]
    assert subprocess.run(command, check=True, capture_output=True).stdout == TEXT
