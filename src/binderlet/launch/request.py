"""What a visitor asks for."""

from __future__ import annotations

from dataclasses import dataclass

from binderlet.model import RepoSpec


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One launch as it was asked for over HTTP."""

    spec: RepoSpec
    host: str
    """The URL visitors reach this service at, such as ``https://binder.example.org/``; with trailing slash."""
    launch_host: str = ""
    """The URL that links and badges lead to where it is another, as in a federation; empty where it is ``host``."""
    build_only: bool = False
    """Stop once the image is built."""
    build_token: bool = False
    """Whether a valid build token came with it; without one, the launch counts against the client's rate."""
    client: str = ""
    """The client's address; for limits only, never kept."""
    origin: str = ""
    """The token's origin or the Host header, for launch events."""
    request_origin: str = ""
    """The Origin header, else Sec-Fetch-Site, for launch events."""
    retry: bool = False
    """Build again though the same build failed a moment ago."""
