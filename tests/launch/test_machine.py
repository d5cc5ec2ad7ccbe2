"""The launch machine, as dialogues."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from binderlet.errors import (
    BuildFailed,
    EngineUnavailable,
    Full,
    ImageMissing,
    ImagesUnavailable,
    RefNotFound,
    RepositoryFull,
    RouterUnavailable,
    SessionDied,
)
from binderlet.launch import machine as m
from binderlet.launch.request import LaunchRequest
from binderlet.launch.words import failed_event, status_of
from binderlet.model import SessionState
from support.dialogue import Dialogue
from support.values import COMMIT, IMAGE, REQUEST, SESSION, SPEC

DOWN = EngineUnavailable("The engine does not answer.")


def begun() -> Dialogue:
    """A launch whose commit is known."""
    return Dialogue(REQUEST, m.Begin()) << m.Resolve(SPEC) >> m.Resolved(COMMIT) << m.FindImage(COMMIT)


def admitted() -> Dialogue:
    """A launch of a built image that has a place and starts its session."""
    dialogue = begun() >> m.ImageFound(IMAGE)
    dialogue.announced("built", "Found built image") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner) >> m.Admitted()
    return dialogue.announced("launching", "Launching server") << m.StartSession(COMMIT, IMAGE)


def test_image_already_built() -> None:
    """A commit whose image exists goes straight to a session, without a build."""
    dialogue = admitted() >> m.Started(SESSION) << m.AddRoute(SESSION) >> m.Routed()
    dialogue.announced("ready", "server running at http://binder.test/user/owner-repo-abcdefgh1234/") << m.Finish(
        "success"
    )
    dialogue.end()
    assert not dialogue.machine.waited_for_build


def test_ready_event_has_every_field_of_the_contract() -> None:
    """The ready event tells embedders the URL, the token and where it came from."""
    dialogue = admitted() >> m.Started(SESSION) << m.AddRoute(SESSION) >> m.Routed()
    announce = dialogue._pending[0]
    assert isinstance(announce, m.Announce)
    assert json.loads(announce.event.data) == {
        "phase": "ready",
        "message": "server running at http://binder.test/user/owner-repo-abcdefgh1234/\n",
        "url": "http://binder.test/user/owner-repo-abcdefgh1234/",
        "token": "secret-token",
        "image": IMAGE.name,
        "repo_url": COMMIT.repo_url,
        "binder_ref_url": COMMIT.ref_url,
        "binder_launch_host": "http://binder.test/",
        "binder_request": "v2/gh/owner/repo/HEAD",
        "binder_persistent_request": f"v2/gh/{COMMIT.resolved_spec}",
        "binder_client_ip": "",
    }


def test_image_is_built_first() -> None:
    """A commit without an image is built, and the launch goes on from there."""
    dialogue = begun() >> m.ImageAbsent()
    dialogue.announced("waiting", "Waiting for build to start") << m.Build(COMMIT) >> m.Built(IMAGE)
    dialogue.announced("built", "Built image") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner)
    dialogue.end()
    assert dialogue.machine.waited_for_build


@pytest.mark.parametrize(("absent", "text"), [(False, "Found built image"), (True, "Image built")])
def test_build_only_ends_with_the_image(absent: bool, text: str) -> None:  # noqa: FBT001 - a table column
    """A launch that only builds is ready when the image is there, and takes no place."""
    dialogue = Dialogue(LaunchRequest(SPEC, "http://binder.test/", build_only=True), m.Begin())
    dialogue << m.Resolve(SPEC) >> m.Resolved(COMMIT) << m.FindImage(COMMIT)
    if absent:
        dialogue >> m.ImageAbsent()
        dialogue.announced("waiting", "Waiting") << m.Build(COMMIT) >> m.Built(IMAGE)
    else:
        dialogue >> m.ImageFound(IMAGE)
    dialogue.announced("ready", text) << m.Finish("success")
    dialogue.end()


def test_queue_position_is_announced() -> None:
    """A launch that waits for a place says where in the queue it is."""
    dialogue = begun() >> m.ImageFound(IMAGE)
    dialogue.announced("built", "Found") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner) >> m.Queued(3, 10, 10)
    dialogue.announced("waiting", "number 3 in the queue") >> m.Queued(2, 10, 10)
    dialogue.announced("waiting", "number 2 in the queue") >> m.Admitted()
    dialogue.announced("launching", "Launching") << m.StartSession(COMMIT, IMAGE)
    dialogue.end()


def test_unknown_ref_fails_once() -> None:
    """A ref that does not exist ends the launch with one event that has a status and a hint."""
    error = RefNotFound("There is no branch, tag or commit nope.")
    dialogue = Dialogue(REQUEST, m.Begin()) << m.Resolve(SPEC) >> m.Failed(error)
    event = failed_event(error)
    dialogue << m.Announce(event) << m.Finish("failure", error)
    dialogue.end()
    assert (event.fields["status_code"], event.fields["code"]) == (404, "ref_not_found")


def with_registry() -> Dialogue:
    """A launch whose commit is known, of a service that has a registry."""
    dialogue = Dialogue(REQUEST, m.Begin(), has_registry=True) << m.Resolve(SPEC) >> m.Resolved(COMMIT)
    return dialogue << m.FindImage(COMMIT)


def test_an_image_of_the_registry_is_pulled() -> None:
    """An image that is not here comes from the registry, without a build."""
    dialogue = with_registry() >> m.ImageAbsent()
    dialogue.announced("waiting", "in the registry") << m.Pull(COMMIT) >> m.Pulled(IMAGE)
    dialogue.announced("built", "Pulled") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner)
    dialogue.end()
    assert not dialogue.machine.waited_for_build


def test_what_no_registry_has_is_built() -> None:
    """An image that is not pulled is built."""
    dialogue = with_registry() >> m.ImageAbsent()
    dialogue.announced("waiting", "in the registry") << m.Pull(COMMIT) >> m.NotPulled()
    dialogue.announced("waiting", "Waiting for build") << m.Build(COMMIT) >> m.Built(IMAGE)
    dialogue.announced("built", "Built") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner)
    dialogue.end()
    assert dialogue.machine.waited_for_build


def test_local_images_never_wait_for_the_registry() -> None:
    """An image that is here is started, whatever there is besides."""
    dialogue = with_registry() >> m.ImageFound(IMAGE)
    dialogue.announced("built", "Found") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner)
    dialogue.end()


def test_image_cleaned_away_comes_back_from_the_registry() -> None:
    """An image that vanished between look-up and start is pulled before it is built again."""
    dialogue = with_registry() >> m.ImageFound(IMAGE)
    dialogue.announced("built", "Found") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner) >> m.Admitted()
    dialogue.announced("launching", "Launching") << m.StartSession(COMMIT, IMAGE) >> m.Failed(ImageMissing("Gone."))
    dialogue.announced("waiting", "in the registry") << m.Pull(COMMIT) >> m.Pulled(IMAGE)
    dialogue.announced("built", "Pulled") << m.StartSession(COMMIT, IMAGE)
    dialogue.end()


def test_a_pull_that_may_not_be_a_build_fails() -> None:
    """Where the registry does not answer and builds are not allowed meanwhile, the launch says so."""
    error = ImagesUnavailable("The registry does not answer.")
    dialogue = with_registry() >> m.ImageAbsent()
    dialogue.announced("waiting", "in the registry") << m.Pull(COMMIT) >> m.Failed(error)
    dialogue.announced("failed", "does not answer") << m.Finish("failure", error)
    dialogue.end()


def test_failed_build_takes_no_place() -> None:
    """A build that fails ends the launch without giving back a place it never had."""
    error = BuildFailed("pip says no.")
    dialogue = begun() >> m.ImageAbsent()
    dialogue.announced("waiting", "Waiting") << m.Build(COMMIT) >> m.Failed(error)
    dialogue.announced("failed", "pip says no.") << m.Finish("failure", error)
    dialogue.end()


def test_session_that_dies_gives_back_its_place() -> None:
    """A session that ends before it answers gives its place back."""
    error = SessionDied("It ended with code 1.")
    dialogue = admitted() >> m.Failed(error) << m.GiveBackPlace()
    dialogue.announced("failed", "code 1") << m.Finish("failure", error)
    dialogue.end()


def test_route_that_fails_stops_the_session() -> None:
    """A session that cannot be routed is stopped: a failed launch leaves nothing behind."""
    error = RouterUnavailable("HAProxy does not answer.")
    dialogue = admitted() >> m.Started(SESSION) << m.AddRoute(SESSION) >> m.Failed(error)
    dialogue << m.StopSession(SESSION) << m.GiveBackPlace()
    dialogue.announced("failed", "HAProxy") << m.Finish("failure", error)
    dialogue.end()


def test_engine_that_does_not_answer_is_tried_again() -> None:
    """An engine that goes down mid-launch gets three more attempts, further and further apart."""
    dialogue = admitted()
    for attempt, pause in [(1, 1.0), (2, 2.0), (3, 4.0)]:
        dialogue >> m.Failed(DOWN)
        dialogue.announced("launching", f"Launch attempt {attempt} failed, retrying") << m.Pause(pause) >> m.Paused()
        dialogue << m.StartSession(COMMIT, IMAGE)
    dialogue >> m.Failed(DOWN) << m.GiveBackPlace()
    dialogue.announced("failed", "engine") << m.Finish("failure", DOWN)
    dialogue.end()


def test_image_cleaned_away_is_built_once_more() -> None:
    """An image that vanished between look-up and start is built again, once, in the same place."""
    gone = ImageMissing("No such image.")
    dialogue = admitted() >> m.Failed(gone)
    dialogue.announced("waiting", "cleaned away") << m.Build(COMMIT) >> m.Built(IMAGE)
    dialogue.announced("built", "Built") << m.StartSession(COMMIT, IMAGE) >> m.Failed(gone) << m.GiveBackPlace()
    dialogue.announced("failed", "No such image") << m.Finish("failure", gone)
    dialogue.end()


def test_recovered_session_is_announced() -> None:
    """A session found after a restart, started but never announced, is awaited, routed and announced."""
    dialogue = Dialogue(REQUEST, m.Recover(SESSION)) << m.Resolve(SPEC) >> m.Resolved(COMMIT)
    dialogue << m.AwaitSession(SESSION) >> m.Started(SESSION) << m.AddRoute(SESSION) >> m.Routed()
    dialogue.announced("ready", "server running") << m.Finish("success")
    dialogue.end()


def test_recovered_session_that_dies_is_removed() -> None:
    """A recovered session that never answers is stopped and its place given back."""
    error = SessionDied("It ended.")
    dialogue = Dialogue(REQUEST, m.Recover(SESSION)) << m.Resolve(SPEC) >> m.Resolved(COMMIT)
    dialogue << m.AwaitSession(SESSION) >> m.Failed(error) << m.StopSession(SESSION) << m.GiveBackPlace()
    dialogue.announced("failed", "ended") << m.Finish("failure", error)
    dialogue.end()


def test_recovered_session_whose_commit_is_not_known_any_more() -> None:
    """Where the spec cannot be resolved now, a session that runs is announced with what its labels know."""
    dialogue = Dialogue(REQUEST, m.Recover(SESSION)) << m.Resolve(SPEC) >> m.Failed(RefNotFound("It is gone."))
    dialogue << m.AwaitSession(SESSION) >> m.Started(SESSION) << m.AddRoute(SESSION) >> m.Routed()
    dialogue.announced("ready", "server running") << m.Finish("success")
    dialogue.end()
    assert dialogue.machine.commit is not None
    assert (dialogue.machine.commit.sha, dialogue.machine.commit.repo_url) == (COMMIT.sha, COMMIT.repo_url)


def test_recovered_session_that_was_made_and_never_run() -> None:
    """A container that nobody told to run is removed, and its launch goes through every step anew."""
    made = replace(SESSION, state=SessionState.STARTING)
    dialogue = Dialogue(REQUEST, m.Recover(made)) << m.StopSession(made) << m.Resolve(SPEC) >> m.Resolved(COMMIT)
    dialogue << m.FindImage(COMMIT) >> m.ImageFound(IMAGE)
    dialogue.announced("built", "Found") << m.RequestPlace(COMMIT.repo_url, COMMIT.owner)
    dialogue.end()


@pytest.mark.parametrize(
    ("error", "status"),
    [(Full("full"), "pod_quota"), (RepositoryFull("full"), "repo_quota"), (DOWN, "failure")],
)
def test_refusals_are_counted_apart(error: Full | RepositoryFull | EngineUnavailable, status: str) -> None:
    """A refusal is not a failure in the metrics."""
    assert status_of(error) == status


@pytest.mark.parametrize("happening", [m.ImageAbsent(), m.Paused(), m.Routed()])
def test_happenings_out_of_order_are_a_bug(happening: m.Happening) -> None:
    """What cannot happen yet is refused loudly."""
    with pytest.raises(RuntimeError):
        m.Machine(REQUEST).handle(happening)
