"""Settings of HTTPS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from binderlet.config.section import FilePath, Section, WebAddress
from binderlet.config.units import Duration


def host_name(value: str) -> str:
    """Check a host name, which may begin with ``*.``; in small letters."""
    labels = value.lower().rstrip(".").removeprefix("*.").split(".")
    if not all(label.replace("-", "").isalnum() and label.isascii() and len(label) < 64 for label in labels):  # noqa: PLR2004 - RFC 1035
        raise ValueError(f"{value!r} is not a host name; write binder.example.org")
    return value.lower().rstrip(".")


HostName = Annotated[str, AfterValidator(host_name)]


class HttpsSettings(Section):
    """HTTPS, ended by this machine's HAProxy."""

    mode: Literal["off", "acme", "files"] = Field(
        "off",
        description="off: plain http, or something in front ends TLS. acme: a certificate is got and renewed by "
        "itself. files: the certificate is yours, in https.certificate and https.key.",
    )
    port: int = Field(443, ge=1, le=65535, description="Port for https; server.port is the one for http.")
    domains: list[HostName] = Field([], description="Names in the certificate. Empty: the host of server.public_url.")
    email: str = Field("", description="Where the certificate authority writes when something is wrong; may be empty.")
    certificate: FilePath = Field(
        "", description="PEM file of the certificate and what stands between it and its authority."
    )
    key: FilePath = Field("", description="PEM file of its private key, without a passphrase.")
    directory: WebAddress = Field(
        "https://acme-v02.api.letsencrypt.org/directory", description="The certificate authority's ACME directory."
    )
    challenge: Literal["http", "dns"] = Field(
        "http",
        description="How the authority sees that the names are yours. http: it asks this machine on port 80. dns: by "
        "a record that https.dns_plugin or https.dns_hook makes; names with * need it.",
    )
    dns_plugin: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9-]*)?$",
        description="A certbot plugin for your DNS provider, such as cloudflare, installed beside binderlet as "
        "certbot-dns-cloudflare.",
    )
    dns_credentials: FilePath = Field("", description="That plugin's file of credentials.")
    dns_hook: FilePath = Field(
        "",
        description="A program of your own instead: it makes the record _acme-challenge.$CERTBOT_DOMAIN with the text "
        "$CERTBOT_VALIDATION, and removes it when $CERTBOT_AUTH_OUTPUT is set.",
    )
    renew_before: Duration = Field(
        30 * 86400.0, gt=0, description="A certificate that ends within this time is renewed."
    )
    redirect: bool = Field(default=True, description="Whether http leads to https.")
    hsts: Duration = Field(
        0.0, ge=0, description="How long browsers are told to come by https only. 0: they are not told."
    )

    @model_validator(mode="after")
    def check_together(self) -> HttpsSettings:
        """Refuse what cannot work."""
        if self.mode == "files" and not (self.certificate and self.key):
            raise ValueError("mode 'files' needs both certificate and key")
        if self.mode == "acme" and self.challenge == "dns" and not (self.dns_plugin or self.dns_hook):
            raise ValueError("challenge 'dns' needs dns_plugin or dns_hook")
        if self.mode == "acme" and self.challenge == "http" and any(name.startswith("*") for name in self.domains):
            raise ValueError("a name with * needs challenge 'dns'")
        return self

    @property
    def own_files(self) -> tuple[Path, Path] | None:
        """The operator's certificate and key, where these are used."""
        return (Path(self.certificate), Path(self.key)) if self.mode == "files" else None
