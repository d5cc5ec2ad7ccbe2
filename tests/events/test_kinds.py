"""Events as bytes on the wire."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from binderlet.events.kinds import LaunchEvent
from binderlet.model import Phase


def test_an_event_is_binderhubs_json() -> None:
    """Phase and message come first, further fields after them, without needless spaces."""
    event = LaunchEvent(Phase.READY, "server running\n", {"url": "http://x/user/a/", "token": "t"})
    assert event.data == (b'{"phase":"ready","message":"server running\\n","url":"http://x/user/a/","token":"t"}')


def test_an_event_without_a_phase_has_no_such_key() -> None:
    """Lines of a build tool that belong to no phase are sent without one, as BinderHub does."""
    assert json.loads(LaunchEvent(None, "x\n").data) == {"message": "x\n"}


def test_an_event_is_encoded_once() -> None:
    """However many viewers there are, the bytes are the same object."""
    event = LaunchEvent(Phase.BUILT, "x\n")
    assert event.data is event.data


@given(st.text(st.characters(codec=None)))
def test_any_text_is_one_line_that_reads_back(message: str) -> None:
    """No message, not even half a surrogate pair or a Unicode line separator, breaks the stream's framing."""
    data = LaunchEvent(Phase.BUILDING, message).data
    assert len(data.decode("ascii").splitlines()) == 1
    assert json.loads(data)["message"] == message
