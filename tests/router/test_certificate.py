"""What certificates say."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from binderlet.router.certificate import CertificateError, covers, join, make_self_signed, read

NAMES = ["binder.example.org", "*.sessions.example.org"]


def test_a_first_certificate_can_be_read_again() -> None:
    """It says for which names it is, until when, and that nobody vouches for it."""
    now = time.time()
    made = make_self_signed(NAMES, now)
    assert read(made.pem) == made
    assert made.names == set(NAMES)
    assert made.self_signed
    assert made.not_after == pytest.approx(now + 30 * 86400, abs=2)


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("binder.example.org", True),
        ("a.sessions.example.org", True),
        ("b.a.sessions.example.org", False),
        ("example.org", False),
    ],
)
def test_a_star_stands_for_one_label(name: str, covered: bool) -> None:  # noqa: FBT001 - a table's column
    """Browsers take a certificate with * for the labels right below."""
    assert covers(make_self_signed(NAMES, time.time()), name) is covered


def test_a_foreign_key_is_refused() -> None:
    """A key that was made for another certificate is found out before HAProxy sees it."""
    one, other = make_self_signed(NAMES, time.time()), make_self_signed(NAMES, time.time())
    chain, _, key = one.pem.partition(b"-----BEGIN PRIVATE")
    with pytest.raises(CertificateError, match="does not belong"):
        join(chain, b"-----BEGIN PRIVATE" + other.pem.partition(b"-----BEGIN PRIVATE")[2])
    assert join(chain, b"-----BEGIN PRIVATE" + key).names == one.names


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    """A broken file is one clear error."""
    with pytest.raises(CertificateError, match="cannot be read"):
        read(pem)


def test_a_certificate_without_its_key_is_refused() -> None:
    """A chain alone is not enough."""
    chain = make_self_signed(NAMES, time.time()).pem.partition(b"-----BEGIN PRIVATE")[0]
    with pytest.raises(CertificateError, match="no private key"):
        read(chain)


def test_a_certificate_without_names_names_nothing(tmp_path: Path) -> None:
    """The old form, with a common name only, is for no host that a browser would ask for."""
    (tmp_path / "bare.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    command = ["openssl", "req", "-x509", "-config", "bare.cnf", "-subj", "/CN=old.example.org", "-nodes"]
    command += ["-newkey", "rsa:2048", "-keyout", "key", "-out", "chain"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = join((tmp_path / "chain").read_bytes(), (tmp_path / "key").read_bytes())
    assert found.names == frozenset()
