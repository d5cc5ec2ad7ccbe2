"""Certificates: what one says, one for the first minutes, and a chain with its key in the form that HAProxy reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from binderlet.errors import BinderletError

FIRST_DAYS = 30
"""Days that a self-signed certificate is good for: nobody trusts it anyway."""


class CertificateError(BinderletError):
    """A certificate cannot be read, used or got."""

    code = "certificate"
    default_hint = "docs/how-to/https.md says how certificates come to be."


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key."""

    pem: bytes
    """The chain, then the key."""
    names: frozenset[str]
    """The host names that it is for."""
    not_after: float
    """When it ends, in seconds since 1970."""
    self_signed: bool


def read(pem: bytes) -> Certificate:
    """Read a chain and its key from one text.

    Raises:
        CertificateError: there is no certificate or no key in it, or the two do not belong together.
    """
    try:
        chain = x509.load_pem_x509_certificates(pem)
        key = serialization.load_pem_private_key(_key_part(pem), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"The certificate or its key cannot be read: {error}.") from error
    first = chain[0]
    if first.public_key() != key.public_key():
        raise CertificateError(
            "The key does not belong to the certificate.", hint="https.key must be the key that it was made with."
        )
    return Certificate(
        pem, _names(first), first.not_valid_after_utc.timestamp(), self_signed=first.issuer == first.subject
    )


def join(chain: bytes, key: bytes) -> Certificate:
    """Put a chain and its key together.

    Raises:
        CertificateError: see ``read``.
    """
    return read(chain.rstrip() + b"\n" + key.strip() + b"\n")


def covers(certificate: Certificate, name: str) -> bool:
    """Whether a browser that asks for this host takes the certificate; a ``*`` stands for one label."""
    return name in certificate.names or "*." + name.partition(".")[2] in certificate.names


def make_self_signed(names: Sequence[str], now: float) -> Certificate:
    """Make a certificate that no browser trusts, so that HTTPS can begin before an authority has been asked."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    start = dt.datetime.fromtimestamp(now, dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - dt.timedelta(hours=1))
        .not_valid_after(start + dt.timedelta(days=FIRST_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return join(made.public_bytes(serialization.Encoding.PEM), secret)


def _key_part(pem: bytes) -> bytes:
    for kind in (b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY"):
        begin, end = b"-----BEGIN " + kind + b"-----", b"-----END " + kind + b"-----"
        _, found, rest = pem.partition(begin)
        if found:
            return found + rest.partition(end)[0] + end + b"\n"
    raise ValueError("there is no private key without passphrase")


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in found.value.get_values_for_type(x509.DNSName))
