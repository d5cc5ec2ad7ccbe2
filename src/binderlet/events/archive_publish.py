"""Makes the public archive, in the form in which mybinder.org publishes its launches, from the files of launches.

A day's public file is made of all that is known of the day, each launch once, with times rounded down to the minute and
in their order; it replaces the one before as a whole. So publishing may be cut off anywhere and done again at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import html
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from binderlet.errors import BinderletError, StoreUnavailable
from binderlet.model import Check

log = structlog.get_logger(__name__)

LAUNCHES, EVENTS = "launches-", "events-"
JSON_LINES = "application/x-ndjson"
HTML = "text/html; charset=utf-8"
SENT = "published.json"
"""What a target has, by name and state of the file: only what changed is sent."""
SECOND_NS, DAY_NS = 10**9, 86400 * 10**9
EXACT_DAYS = 14
"""Days after which the exact times of published launches are forgotten."""

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Launch archive</title>
<h1>Launch archive</h1>
<p>Launches per day (UTC), one JSON object a line, times rounded down to the minute.
<a href="index.jsonl">index.jsonl</a> lists the same for programs.</p>
<table>
<tr><th scope="col">Day</th><th scope="col">Launches</th></tr>
{rows}
</table>
</html>
"""


class Target(Protocol):
    """Where public files go: a folder, a bucket."""

    @property
    def name(self) -> str:
        """What it is, for people; no other target has the same."""

    async def put(self, name: str, body: bytes, content_type: str) -> None:
        """Replace a file as a whole.

        Raises:
            BinderletError: it could not be stored; the one before is still there.
        """


class FolderTarget:
    """Public files in a folder, for a web server; readers see the old file or the new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    async def put(self, name: str, body: bytes, content_type: str) -> None:  # noqa: ARG002 - a folder has no types
        """Replace a file as a whole."""
        await asyncio.to_thread(replace_file, self.folder / name, body)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far what is public is behind; times in seconds since the epoch, 0 for never."""

    published_at: float
    waiting_since: float
    """When the oldest launch that is not public yet was seen; 0 where all are."""
    problem: str
    events: int
    """Launches that are public, of all days."""

    def behind(self, now: float) -> float:
        """Give the seconds for which a launch has waited to become public."""
        return max(0.0, now - self.waiting_since) if self.waiting_since else 0.0


class Publisher:
    """Keeps the folder ``public`` up to date with the launches in ``folder``, and ``targets`` with it.

    ``run`` is its task. ``freshness`` and ``check`` answer from memory.
    """

    def __init__(
        self,
        folder: Path,
        public: Path,
        targets: Sequence[Target] = (),
        *,
        every: float = 600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.public = public
        self._folder = folder
        self._targets = targets
        self._every = every
        self._clock = clock
        self.freshness = Freshness(0.0, 0.0, "", 0)

    async def run(self) -> None:
        """Publish again and again, until cancelled; a failure is logged once and tried again."""
        while True:
            try:
                await self.publish()
            except BinderletError as error:
                self._failed(error)
            await asyncio.sleep(self._every)

    async def publish(self) -> list[str]:
        """Publish what changed and give the names of the files that did.

        Raises:
            BinderletError: a file cannot be written or sent; doing it again goes on where this stopped.
        """
        began = self._clock()
        try:
            await asyncio.to_thread(refresh, self._folder, self.public)
            sent = [name for target in self._targets for name in await self._send(target)]
            events = sum(int(entry["count"]) for entry in await asyncio.to_thread(read_index, self.public))
        except OSError as error:
            raise StoreUnavailable(f"The archive in {self.public} cannot be written: {error}.") from error
        self.freshness = Freshness(began, 0.0, "", events)
        return sent

    def check(self) -> Check:
        """Say for ``/health`` whether what is public is fresh; a stale archive does not make the service unwell."""
        fresh, now = self.freshness, self._clock()
        if fresh.problem:
            message = f"Not published for {fresh.behind(now) / 60:.0f} minutes: {fresh.problem}"
            return Check("Launch archive", ok=False, message=message, ignore_failure=True)
        return Check("Launch archive", ok=True, message=f"{fresh.events} launches are public", ignore_failure=True)

    def _failed(self, error: BinderletError) -> None:
        before = self.freshness
        if not before.problem:
            log.warning("launches are not published; will try again", error=str(error), hint=error.hint)
        since = before.waiting_since or self._clock()
        self.freshness = Freshness(before.published_at, since, error.message, before.events)

    async def _send(self, target: Target) -> list[str]:
        """Bring a target up to date: days first, then what lists them."""
        name = hashlib.sha256(target.name.encode()).hexdigest()[:8]
        record = self._folder / f"{name}-{SENT}"
        sent = await asyncio.to_thread(read_record, record)
        changed = []
        for path, state in await asyncio.to_thread(published_files, self.public):
            if sent.get(path.name) != state:
                body = await asyncio.to_thread(path.read_bytes)
                await target.put(path.name, body, HTML if path.suffix == ".html" else JSON_LINES)
                sent[path.name] = state
                changed.append(path.name)
                await asyncio.to_thread(replace_file, record, json.dumps(sent).encode())
        return changed


def published_files(public: Path) -> list[tuple[Path, str]]:
    """List the days' files, then the index and its page, each with what changes when the file does."""
    paths = [*sorted(public.glob(f"{EVENTS}*.jsonl")), public / "index.jsonl", public / "index.html"]
    return [(path, f"{(state := path.stat()).st_size}-{state.st_mtime_ns}") for path in paths]


def refresh(folder: Path, public: Path) -> None:
    """Make the public file of each day whose launches changed, and the index; forget the exact times of old days.

    Raises:
        OSError: a file cannot be read or written.
    """
    public.mkdir(parents=True, exist_ok=True)
    counts = known_counts(public)
    for source in sorted(folder.glob(f"{LAUNCHES}*.jsonl")):
        made = public / source.name.replace(LAUNCHES, EVENTS)
        stamp, now = source.stat().st_mtime_ns, time.time_ns()
        if made.exists() and made.stat().st_mtime_ns == stamp:
            if now - stamp > EXACT_DAYS * DAY_NS:
                source.unlink()
            continue
        with source.open("rb") as lines:
            public_ones = public_lines(lines)
        # The public file is as old as what it was made of. A change within one tick of the clock would not be seen:
        # what was written just now is looked at again.
        replace_file(made, b"".join(public_ones), stamp - (now - stamp < SECOND_NS))
        counts[made.name] = len(public_ones)
    index(public, counts)


def known_counts(public: Path) -> dict[str, int]:
    """Give the number of launches of each public file, from the index where that was written after the file."""
    listed: dict[str, int] = {}
    written = 0
    with contextlib.suppress(OSError, ValueError, KeyError):
        listed = {entry["name"]: int(entry["count"]) for entry in read_index(public)}
        written = (public / "index.jsonl").stat().st_ctime_ns
    counts = {}
    for path in public.glob(f"{EVENTS}*.jsonl"):
        is_listed = path.name in listed and path.stat().st_ctime_ns < written
        counts[path.name] = listed[path.name] if is_listed else len(path.read_bytes().splitlines())
    return counts


def index(public: Path, counts: Mapping[str, int]) -> None:
    """Write ``index.jsonl`` and ``index.html`` where they are out of date; counts are text, as mybinder's are."""
    entries = [
        {"name": name, "date": name.removeprefix(EVENTS).removesuffix(".jsonl"), "count": str(counts[name])}
        for name in sorted(counts)
    ]
    listing = "".join(json.dumps(entry) + "\n" for entry in entries)
    rows = "\n".join(
        f'<tr><td><a href="{html.escape(entry["name"])}">{html.escape(entry["date"])}</a></td>'
        f"<td>{html.escape(entry['count'])}</td></tr>"
        for entry in reversed(entries)
    )
    for name, text in (("index.jsonl", listing), ("index.html", PAGE.format(rows=rows))):
        path = public / name
        if not path.exists() or path.read_text("utf-8") != text:
            replace_file(path, text.encode())


def public_lines(lines: Iterable[bytes]) -> list[bytes]:
    """Make public lines of the lines of launches: each launch once, rounded down to the minute, in order of time."""
    seen: set[str] = set()
    events: list[tuple[str, bytes]] = []
    for line in lines:
        if not line.endswith(b"\n"):
            continue  # torn by a crash: the journal still has it
        kept = json.loads(line)
        if kept["id"] in seen:
            continue
        seen.add(kept["id"])
        exact = kept["event"]["timestamp"]
        event = {**kept["event"], "timestamp": rounded(exact)}
        events.append((exact, json.dumps(event).encode() + b"\n"))
    # By the minute alone: the order within it would tell more than the minute does.
    return [line for _, line in sorted((exact[:16], line) for exact, line in events)]


def rounded(timestamp: str) -> str:
    """Round a time down to the minute, written as mybinder's archive writes it."""
    return f"{timestamp[:16]}:00+00:00"


def read_index(public: Path) -> list[dict[str, str]]:
    """Read ``index.jsonl``."""
    with (public / "index.jsonl").open("rb") as lines:
        return [json.loads(line) for line in lines]


def read_record(path: Path) -> dict[str, str]:
    """Read what a target has; nothing where that is not known: then all is sent again."""
    try:
        found: dict[str, str] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def replace_file(path: Path, body: bytes, mtime_ns: int = 0) -> None:
    """Write a file as a whole: until it is, the one before is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if mtime_ns:
            os.utime(temporary, ns=(mtime_ns, mtime_ns))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
