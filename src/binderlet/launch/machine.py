"""What happens next in a launch: a pure machine that takes what happened and gives what to do.

``Machine.handle(happening) -> [command, ...]``. It reads no clock, no network and no disk, so that every story of
a launch can be written down as a dialogue in ``tests/launch/test_machine.py``; ``runner`` does the commands and
comes back with what happened.

The ordinary dialogue::

    Begin               -> Resolve
    Resolved(commit)    -> FindImage
    ImageFound(image)   -> Announce(built), RequestPlace          ImageAbsent -> Announce(waiting), Build
    Admitted            -> Announce(launching), StartSession      Built(image) -> as ImageFound

Where there is a registry, it comes before a build::

    ImageAbsent         -> Announce(waiting), Pull
    Pulled(image)       -> as ImageFound                          NotPulled -> Announce(waiting), Build

And in the end::

    Started(session)    -> AddRoute
    Routed(session)     -> Announce(ready), Finish(success)
    Failed(error)       -> (undo what was done), Announce(failed), Finish(failure)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from binderlet.errors import BinderletError, EngineUnavailable, ImageMissing
from binderlet.events.kinds import LaunchEvent
from binderlet.launch.request import LaunchRequest
from binderlet.launch.words import commit_of, failed_event, queue_event, status_of
from binderlet.model import Commit, Image, Phase, RepoSpec, Session, SessionState

ATTEMPTS = 4
"""How often a session is started while the engine does not answer."""
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; doubled for each one after."""


# What happened.


@dataclass(frozen=True, slots=True)
class Begin:
    """A visitor asked for a launch."""


@dataclass(frozen=True, slots=True)
class Recover:
    """A control plane that is gone had started this session for the launch, but not announced it."""

    session: Session


@dataclass(frozen=True, slots=True)
class Resolved:
    """The spec means this commit."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class ImageFound:
    """There is an image for the commit."""

    image: Image


@dataclass(frozen=True, slots=True)
class ImageAbsent:
    """There is no image for the commit."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The image was brought from a registry."""

    image: Image


@dataclass(frozen=True, slots=True)
class NotPulled:
    """The image is to be built: no registry has it, building is quicker, or none answers."""


@dataclass(frozen=True, slots=True)
class Built:
    """The image was built."""

    image: Image


@dataclass(frozen=True, slots=True)
class Queued:
    """All places are taken; this launch waits."""

    position: int
    """1 is next."""
    taken: int
    limit: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """The launch has a place."""


@dataclass(frozen=True, slots=True)
class Started:
    """The session answers."""

    session: Session


@dataclass(frozen=True, slots=True)
class Routed:
    """``/user/<id>/`` leads to the session."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The pause is over."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last command failed."""

    error: BinderletError


Happening = (
    Begin
    | Recover
    | Resolved
    | ImageFound
    | ImageAbsent
    | Pulled
    | NotPulled
    | Built
    | Queued
    | Admitted
    | Started
    | Routed
    | Paused
    | Failed
)


# What to do.


@dataclass(frozen=True, slots=True)
class Resolve:
    """Ask the repo provider which commit this is."""

    spec: RepoSpec


@dataclass(frozen=True, slots=True)
class FindImage:
    """Look for an image of the commit."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Pull:
    """Bring the image from a registry, or wait for the pull that already goes on."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Build:
    """Build the image, or wait for the build that already runs."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class RequestPlace:
    """Ask admission for a place."""

    repo_url: str
    owner: str


@dataclass(frozen=True, slots=True)
class StartSession:
    """Start a session and wait until it answers."""

    commit: Commit
    image: Image


@dataclass(frozen=True, slots=True)
class AwaitSession:
    """Wait until a session that was found answers."""

    session: Session


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Lead visitors to the session."""

    session: Session


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before trying again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StopSession:
    """End the session that this launch started."""

    session: Session


@dataclass(frozen=True, slots=True)
class GiveBackPlace:
    """The place that was taken is not needed."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the viewers."""

    event: LaunchEvent


@dataclass(frozen=True, slots=True)
class Finish:
    """The launch is over."""

    status: str
    """``success``, ``failure``, ``pod_quota`` or ``repo_quota``, as in BinderHub's metrics."""
    error: BinderletError | None = None


Command = (
    Resolve
    | FindImage
    | Pull
    | Build
    | RequestPlace
    | StartSession
    | AwaitSession
    | AddRoute
    | Pause
    | StopSession
    | GiveBackPlace
    | Announce
    | Finish
)


class Machine:
    """One launch. ``handle`` is called once for each thing that happens, in order."""

    def __init__(self, request: LaunchRequest, *, has_registry: bool = False) -> None:
        self.request = request
        self._has_registry = has_registry
        self.commit: Commit | None = None
        self.image: Image | None = None
        self.session: Session | None = None
        self.waited_for_build = False
        self._recovered: Session | None = None
        self._has_place = False
        self._attempt = 1
        self._rebuilt = False

    def handle(self, happening: Happening) -> Sequence[Command]:  # noqa: C901, PLR0911, PLR0912 - one line for each thing that can happen
        """Give the commands that follow from what happened."""
        match happening:
            case Begin():
                return [Resolve(self.request.spec)]
            case Recover(session):
                return self._recover(session)
            case Resolved(commit):
                return self._resolved(commit)
            case ImageFound(image):
                return self._have_image(image, "Found built image, launching...\n")
            case ImageAbsent() if self._has_registry:
                looking = Announce(LaunchEvent(Phase.WAITING, "Looking for the image in the registry...\n"))
                return [looking, Pull(self._known_commit)]
            case ImageAbsent() | NotPulled():
                self.waited_for_build = True
                waiting = Announce(LaunchEvent(Phase.WAITING, "Waiting for build to start...\n"))
                return [waiting, Build(self._known_commit)]
            case Pulled(image):
                return self._have_image(image, "Pulled image, launching...\n")
            case Built(image):
                return self._have_image(image, "Built image, launching...\n")
            case Queued(position, taken, limit):
                return [Announce(queue_event(position, taken, limit))]
            case Admitted():
                self._has_place = True
                return [Announce(LaunchEvent(Phase.LAUNCHING, "Launching server...\n")), self._start()]
            case Paused():
                return [self._start()]
            case Started(session):
                self.session = session
                return [AddRoute(session)]
            case Routed():
                return [Announce(self._ready()), Finish("success")]
            case Failed(error):
                return self._failed(error)

    def _recover(self, session: Session) -> Sequence[Command]:
        if session.state is SessionState.STARTING:
            # Nobody will ever tell the engine to run what was only made: this launch begins anew.
            return [StopSession(session), Resolve(self.request.spec)]
        self._recovered, self._has_place = session, True
        return [Resolve(self.request.spec)]

    @property
    def _known_commit(self) -> Commit:
        if self.commit is None:
            raise RuntimeError("the commit is not known yet")
        return self.commit

    def _resolved(self, commit: Commit) -> Sequence[Command]:
        self.commit = commit
        if self._recovered is not None:
            self.session = self._recovered
            return [AwaitSession(self._recovered)]
        return [FindImage(commit)]

    def _have_image(self, image: Image, message: str) -> Sequence[Command]:
        self.image = image
        commit = self._known_commit
        if self.request.build_only:
            done = "Done! Image built\n" if self.waited_for_build else "Done! Found built image\n"
            return [Announce(LaunchEvent(Phase.READY, done, {"imageName": image.name})), Finish("success")]
        built = Announce(LaunchEvent(Phase.BUILT, message, {"imageName": image.name}))
        if self._has_place:
            return [built, self._start()]
        return [built, RequestPlace(commit.repo_url, commit.owner)]

    def _start(self) -> StartSession:
        if self.image is None:
            raise RuntimeError("there is no image yet")
        return StartSession(self._known_commit, self.image)

    def _failed(self, error: BinderletError) -> Sequence[Command]:
        if self._recovered is not None and self.commit is None:
            # The session runs, whatever the repository's host says today.
            return self._resolved(commit_of(self._recovered))
        starting = self._has_place and self.session is None and self.image is not None
        if starting and isinstance(error, ImageMissing) and not self._rebuilt:
            self._rebuilt = True
            if self._has_registry:
                return self.handle(ImageAbsent())
            self.waited_for_build = True
            gone = LaunchEvent(Phase.WAITING, "The image was cleaned away meanwhile; building it again...\n")
            return [Announce(gone), Build(self._known_commit)]
        if starting and isinstance(error, EngineUnavailable) and self._attempt < ATTEMPTS:
            pause = FIRST_PAUSE * 2 ** (self._attempt - 1)
            retry = LaunchEvent(Phase.LAUNCHING, f"Launch attempt {self._attempt} failed, retrying...\n")
            self._attempt += 1
            return [Announce(retry), Pause(pause)]
        undo: list[Command] = []
        if self.session is not None:
            undo.append(StopSession(self.session))
        if self._has_place:
            undo.append(GiveBackPlace())
        return [*undo, Announce(failed_event(error)), Finish(status_of(error), error)]

    def _ready(self) -> LaunchEvent:
        if self.session is None:
            raise RuntimeError("there is no session yet")
        commit, request = self._known_commit, self.request
        url = f"{request.host}user/{self.session.id}/"
        fields: dict[str, Any] = {
            "url": url,
            "token": self.session.token,
            "image": self.session.image,
            "repo_url": commit.repo_url,
            "binder_ref_url": commit.ref_url,
            "binder_launch_host": request.launch_host or request.host,
            "binder_request": f"v2/{request.spec}",
            "binder_persistent_request": f"v2/{request.spec.provider}/{commit.resolved_spec}",
            "binder_client_ip": request.client,
        }
        return LaunchEvent(Phase.READY, f"server running at {url}\n", fields)
