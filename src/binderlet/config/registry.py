"""The second tier of images: object storage behind a registry, or a registry that exists already; and peers'."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from binderlet.config.section import Section, WebAddress
from binderlet.config.units import ByteSize, Duration

FOLDER = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*")


def folder(value: str) -> str:
    """Check a folder that both object keys and repository names may have; without slashes around it."""
    value = value.strip("/")
    if value and FOLDER.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not a folder; write lower-case letters, digits and -, such as 'binder/images'")
    return value


def image_prefix(value: str) -> str:
    """Check what is put before image names: a registry's host, then the beginning of its repositories' names."""
    scheme, separator, rest = value.partition("://")
    host, slash, path = (rest if separator else value).partition("/")
    if (separator and scheme not in {"http", "https"}) or not host or not slash or not path:
        raise ValueError(f"{value!r} is not an image prefix; write registry.example.org/binder/r2d-")
    return value


Folder = Annotated[str, AfterValidator(folder)]
ImagePrefix = Annotated[str, AfterValidator(image_prefix)]


class S3Settings(Section):
    """A bucket of S3-compatible storage; with it, binderlet runs a registry of its own on this machine."""

    endpoint: WebAddress = Field(
        "", description="URL of the storage, such as https://fsn1.your-objectstorage.com/. Empty: none is used."
    )
    bucket: str = Field("", description="Name of the bucket; it must exist.")
    access_key: str = Field("", description="Access key that may read and write the bucket.")
    secret_key: SecretStr = Field(SecretStr(""), description="Its secret.")
    region: str = Field("us-east-1", description="The storage's region; many stores take any.")
    folder: Folder = Field("images", description="Folder in the bucket that holds the images.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.endpoint:
            return self
        missing = [name for name in ("bucket", "access_key", "secret_key") if not getattr(self, name)]
        if missing:
            raise ValueError(f"endpoint is set, but {' and '.join(missing)} not")
        return self


class PeerSettings(Section):
    """Another member's registry, asked before an image is built here."""

    prefix: ImagePrefix = Field(
        description="That member's image prefix with its registry's host; https:// is assumed.",
    )
    username: str = Field("", description="User name for that registry; empty where it needs none.")
    password: SecretStr = Field(SecretStr(""), description="Password or token for it.")


class RegistrySettings(Section):
    """Where images are kept beside this machine. Without registry.s3 and registry.url they are here only."""

    s3: S3Settings = S3Settings()
    url: WebAddress = Field(
        "",
        description="An existing OCI registry, with a folder for the images: https://registry.example.org/binder/. "
        "Instead of registry.s3.",
    )
    username: str = Field("", description="User name for it.")
    password: SecretStr = Field(SecretStr(""), description="Password or token for it.")
    push: bool = Field(default=True, description="Whether images that are built here are pushed there.")
    push_rate: ByteSize = Field(
        20 * 1024**2, ge=0, description="Bytes per second that pushing may take, as sent; 0: no limit."
    )
    yield_rate: ByteSize = Field(
        256 * 1024, gt=0, description="The same while launches or builds are under way, which go first."
    )
    patience: Duration = Field(
        60.0,
        ge=0,
        description="How long a launch waits for a registry that does not answer, where its image may be there.",
    )
    builds_when_down: int = Field(
        1,
        ge=0,
        description="Images that the registry may have, built at the same time while it does not answer; 0: none, "
        "their launches fail and say why.",
    )
    peers: list[PeerSettings] = Field(
        [], description="Other members' registries, asked in this order for an image before it is built here."
    )

    @property
    def is_on(self) -> bool:
        """Whether there is a second tier."""
        return bool(self.s3.endpoint or self.url)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.s3.endpoint and self.url:
            raise ValueError("s3.endpoint and url are both set; choose one")
        return self
