"""``failover``: launches lost after the next probe of a member that died, and how long its launches take to move.

Three real binderlets with fake sessions stand behind one redirector. Launches come all the time from several
visitors; then the way to a member is cut in the middle of them, as when a machine loses its network. A launch is
lost when it ends without a session. What is lost before the redirector's next probe of that member is counted apart:
no redirector can know of it. Afterwards the goal is 0. The same with a member that does not refuse but stalls.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from benchmarks._figure import Figure, say
from support.federation_live import LiveFederation, LiveMember, Redirector, federation, launch, wait_until

VISITORS = 4
BEFORE, AFTER = 4.0, 8.0
"""Seconds of launches before the member is lost, and after that was seen."""
REPOSITORIES = 50
LAUNCH_TIMEOUT = 10.0
PAUSE = 0.05
"""Seconds between two launches of a visitor, so that quick failures do not count more than their time."""


@dataclass
class Visitors:
    """Asks for launches until told to stop."""

    redirector: Redirector
    spec: str
    stop: threading.Event = field(default_factory=threading.Event)
    done: list[tuple[float, float, bool]] = field(default_factory=list)
    """When each launch was sent, when it ended, and whether it had a session."""

    def run(self, number: int) -> None:
        """Be one visitor."""
        count = number
        while not self.stop.is_set():
            count += VISITORS
            began = time.monotonic()
            try:
                # Another query makes another spec's worth of choice: git specs are spread by the whole path.
                spec = self.spec.replace("/HEAD", f"/{'HEAD' if count % 2 else 'main'}")
                well = launch(self.redirector, spec, timeout=LAUNCH_TIMEOUT)["phase"] == "ready"
            except OSError:
                well = False
            self.done.append((began, time.monotonic(), well))
            time.sleep(PAUSE)


def lose(live: LiveFederation, redirector: Redirector, member: LiveMember, how: str) -> dict[str, float]:
    """Lose a member while launches come."""
    visitors = Visitors(redirector, live.spec)
    threads = [threading.Thread(target=visitors.run, args=(number,)) for number in range(VISITORS)]
    for thread in threads:
        thread.start()
    time.sleep(BEFORE)
    lost_at = time.monotonic()
    member.way.cut() if how == "cut" else member.way.stall()
    wait_until(lambda: redirector.members()[member.name]["state"] != "up", 60, "the loss is seen")
    seen_at = time.monotonic()
    time.sleep(AFTER)
    visitors.stop.set()
    for thread in threads:
        thread.join()
    failed = [began for began, _, well in visitors.done if not well]
    member.way.mend()
    wait_until(lambda: redirector.members()[member.name]["state"] == "up", 60, "the member is back")
    return {
        "launches": len(visitors.done),
        "lost before the probe": sum(began < seen_at for began in failed),
        "lost after the probe": sum(began >= seen_at for began in failed),
        "seconds to move": round(seen_at - lost_at, 2),
    }


def main() -> None:
    """Measure and print."""
    with federation() as live:
        redirector = live.redirector(live.port)
        home = redirector.where(f"/build/{live.spec}")
        member = next(member for member in live.members if member.way.url == home)
        launch(redirector, live.spec)
        found = {}
        for how in ("cut", "stall"):
            found[how] = lose(live, redirector, member, how)
            say(f"{how}: {found[how]}")
    lost = sum(one["lost after the probe"] for one in found.values())
    detail = {"probe period": 0.5, "probe timeout": 2, "visitors": VISITORS, **found}
    Figure("failover", lost, None, "launches", len(found), detail).print()


if __name__ == "__main__":
    main()
