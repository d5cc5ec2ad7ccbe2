"""How much disk is used, and for what."""

from __future__ import annotations

from pydantic import Field

from binderlet.config.section import Section
from binderlet.config.units import ByteSize, Duration


class DiskSettings(Section):
    """What is kept on this machine's disk: images, build cache, logs and copies of repositories share one budget."""

    enabled: bool = Field(
        default=True, description="Whether what is worth least is removed by itself when the disk becomes tight."
    )
    budget: ByteSize = Field(
        0,
        ge=0,
        description="Bytes that everything together may take. 0: the whole disk but builder.min_free_disk.",
    )
    start_at: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Share of the budget beyond which something is removed; earlier where less than one and a half "
        "times builder.min_free_disk would be left.",
    )
    stop_at: float = Field(0.9, gt=0, le=1, description="Share of the budget at which removing ends.")
    half_life: Duration = Field(14 * 86400.0, gt=0, description="A launch counts half after this time.")
    min_age: Duration = Field(3600.0, ge=0, description="What was made or used within this time stays.")
    max_age: Duration = Field(
        0.0, ge=0, description="Images that nobody launched for this long go even where there is room. 0: never."
    )
    owner_share: float = Field(
        0.25, gt=0, le=1, description="Share of the budget beyond which an owner's images count less."
    )
    keep_popular: int = Field(20, ge=0, description="The newest images of so many most launched repositories stay.")
    pins: list[str] = Field(
        [], description="Images, repositories (by URL) or owners whose images stay; 'binderlet images pin' adds more."
    )
    build_cache: bool = Field(
        default=True,
        description="Whether the build tool's cache, which other users of this engine share, may be made smaller.",
    )
    every: Duration = Field(60.0, gt=0, description="How often the disk is looked at.")
    survey_every: Duration = Field(600.0, gt=0, description="How often everything that is kept is measured anew.")
    pause: Duration = Field(1.0, ge=0, description="Least time between two removals.")
