"""Backups of history, settings and secrets."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from binderlet.config.section import Section
from binderlet.config.units import Duration


class BackupSettings(Section):
    """Encrypted copies of what a new machine needs: history, settings, secrets, pins, archive. Not images."""

    to: str = Field("", description="A folder, from /, or 'bucket' for the one of registry.s3. Empty: none is named.")
    every: Duration = Field(0.0, ge=0, description="How often the service makes one by itself. 0: never.")
    keep: int = Field(14, ge=1, description="Backups of this service that stay; older ones go when a new one is made.")
    passphrase: SecretStr = Field(SecretStr(""), description="Encrypts them, and is needed to restore one.")
    recipients: list[str] = Field(
        [],
        description="Public keys of age (age1...) that encrypt them instead: this machine can then not read them. "
        "'age-keygen' makes a pair.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.passphrase and self.recipients:
            raise ValueError("passphrase and recipients are both set; choose one")
        if self.to not in {"", "bucket"} and not self.to.startswith("/"):
            raise ValueError(f"to is {self.to!r}, which is neither 'bucket' nor a folder that begins with /")
        if self.every and not (self.to and (self.passphrase or self.recipients)):
            raise ValueError("every is set, but to, or what encrypts (passphrase or recipients), is not")
        return self
