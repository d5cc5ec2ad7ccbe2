"""Settings of the launch archive and of the statistics."""

from __future__ import annotations

from pydantic import Field

from binderlet.config.registry import Folder, S3Settings
from binderlet.config.section import RegularExpression, Section
from binderlet.config.units import Duration


class ArchiveBucketSettings(S3Settings):
    """A bucket of S3-compatible storage for a copy of the public archive."""

    folder: Folder = Field("archive", description="Folder in the bucket that holds the files.")


class ArchiveSettings(Section):
    """The public archive of launches, in the form that mybinder.org publishes; see ``events.archive``."""

    origin: str = Field(
        "",
        description="Name of this service in launch events, such as 2i2c.mybinder.org. Empty: the host that each "
        "launch was asked of.",
    )
    publish: bool = Field(
        default=True,
        description="Make the public files: each launch once, times rounded down to the minute, an index.",
    )
    folder: str = Field("", description="Folder for a copy of the public files, such as a web server's.")
    s3: ArchiveBucketSettings = ArchiveBucketSettings()
    serve: bool = Field(default=True, description="Answer /archive/ with the public files.")
    every: Duration = Field(600.0, ge=1, description="How often what is new is published.")
    private: list[RegularExpression] = Field(
        [],
        description="Regular expressions; launches of a 'provider/spec' that one matches from its start are in no "
        "archive and in no list of repositories.",
    )


class StatisticsSettings(Section):
    """Pages about launches: who served what, how fast, how many at once."""

    pages: bool = Field(default=True, description="Whether everyone may see them at /statistics.")
    least: int = Field(
        5, ge=1, description="Repositories launched fewer times in the time that is shown count as 'others'."
    )
    every: Duration = Field(300.0, ge=10, description="How often this service's own launches are counted.")
