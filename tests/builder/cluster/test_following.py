"""What the control plane writes down of a build in a pod, and reads again after a restart."""

from __future__ import annotations

from pathlib import Path

from binderlet.builder.cluster.following import MARK, Following, last_seen
from binderlet.builder.cluster.messages import Alive, Anew, Line, Message, Order, Stray
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.events.buildlog import BuildLog
from binderlet.images.shelf import Shelf
from binderlet.launch.stored_builds import read_events
from binderlet.model import Phase


def test_last_seen(tmp_path: Path) -> None:
    """The pod that a log names last counts, with the number of its last line; lines of others do not."""
    path = tmp_path / "log"
    assert last_seen(path) == ("", 0)
    path.write_text('{"phase": "fetching", "message": "x"}\nplain\n')
    assert last_seen(path) == ("", 0)
    marked = f'{{"phase": "building", "message": "{MARK}b-1."}}\n'
    line = '{"phase": "building", "message": "x", "number": 1}\n'
    path.write_text(f"{marked}{line}{marked.replace('b-1', 'b-2')}{line}plain\n[]\n7\n{{}}\n")
    assert last_seen(path) == ("b-2", 1)
    path.write_text(marked + line.replace("1", "7").replace('"x"', f'"{MARK}of-a-script."'))
    assert last_seen(path) == ("b-1", 7), "what a build prints is never taken for ours"


def test_noted(tmp_path: Path) -> None:
    """Lines of the build are counted, others are not; what begins anew is counted anew."""
    log = BuildLog(tmp_path / "log")
    job = Following(Order("prepare", BuilderSettings(), NetworkEnvironment(), (), Shelf("a", "a")), None, log)
    job.begin("b-1")
    said: list[Message] = [Line("one", Phase.FETCHING), Line("two", Phase.BUILDING), Alive(), Stray("Traceback")]
    for each in said:
        job.note(each)
    log.write("Waiting for a builder pod...")
    assert (job.seen, last_seen(log.path)) == (2, ("b-1", 2))
    job.note(Anew())
    job.note(Line("one", Phase.FETCHING))
    assert (job.seen, last_seen(log.path)) == (1, ("b-1", 1))
    words = [event.message.strip() for event in read_events(log.path)]
    mark = f"{MARK}b-1."
    assert words == [mark, "one", "two", "Traceback", "Waiting for a builder pod...", mark, "one"]
