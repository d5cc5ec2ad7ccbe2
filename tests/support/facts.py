"""Facts about one launch, its build and its session, for tests of those that keep the record."""

from __future__ import annotations

from binderlet.events.kinds import (
    BuildEnded,
    BuildStarted,
    LaunchEnded,
    LaunchStarted,
    SessionEnded,
    SessionStarted,
)
from support.values import COMMIT, IMAGE, SESSION, SPEC

NOW = 1_800_000_000.0

LAUNCH_STARTED = LaunchStarted("launch-1", SPEC, NOW)
LAUNCH_ENDED = LaunchEnded(
    "launch-1",
    SPEC,
    NOW + 5,
    NOW,
    "success",
    commit=COMMIT,
    provider_name="GitHub",
    session_id=SESSION.id,
    built=True,
    build_token=True,
    origin="binder.test",
    request_origin="https://page.test",
    phase_seconds={"resolve": 0.1, "start": 2.0, "route": 0.5},
)
BUILD_STARTED = BuildStarted("build-1", COMMIT, IMAGE.name, NOW)
BUILD_ENDED = BuildEnded("build-1", COMMIT, IMAGE.name, NOW + 90, NOW, "success")
SESSION_STARTED = SessionStarted(SESSION, SESSION.created_at + 1.2)
SESSION_ENDED = SessionEnded(SESSION, SESSION.created_at + 60, "culled: idle")
