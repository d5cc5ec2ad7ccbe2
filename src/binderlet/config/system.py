"""What systemd does beside the control plane. ``binderlet install`` sets it in its units, not in the settings file."""

from __future__ import annotations

from pydantic import Field

from binderlet.config.section import FilePath, Section


class SystemSettings(Section):
    """What systemd does on an installed machine; set by its units. Without them the control plane does it itself."""

    sessions_slice: str = Field(
        "",
        pattern=r"^([a-z0-9_]+(-[a-z0-9_]+)*\.slice)?$",
        description="Slice of the sessions' containers. Empty: where the engine puts them.",
    )
    haproxy: bool = Field(default=False, description="HAProxy is a unit: it is waited for, not started and not ended.")
    registry: bool = Field(default=False, description="The registry of registry.s3 is a unit: the same.")
    backups: bool = Field(default=False, description="A timer makes the backups of backup.every.")
    jobs: FilePath = Field("", description="Socket at which systemd starts builds. Empty: they are started directly.")
    helper: FilePath = Field(
        "", description="Socket of the root helper, for a control plane that is not root. Empty: it does all itself."
    )
