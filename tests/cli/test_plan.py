"""``binderlet plan``: what a load needs and costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binderlet.cli.plan import seconds
from binderlet.dashboard.own import SLOTS, bucket
from binderlet.dashboard.store import StatisticsStore
from binderlet.planner.prices import BUILT_IN
from support.archives import event_line, write_archive
from support.command import Command

pytestmark = pytest.mark.timeout(90)
QUICK = ("--machines", "1", "--budget", "60")


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, with a state folder of its own."""
    return Command(tmp_path / "state", capsys)


def test_a_described_load(command: Command) -> None:
    """The answers are said in sentences and tables, with the check by simulation."""
    assert command("plan", "--per-day", "3000", "--check", *QUICK) == 0
    for words in (
        "2614.3 launches a day, sessions of 38.4 minutes (mean):",
        "Cheapest with a p95 wait of at most 60 s: Hetzner CCX23, EUR 24.49 a month.",
        "A second Hetzner CCX23 pays off above",
        "EUR 60 a month buy:",
        "sessions stay 1.5 times as long: Hetzner",
        "launches with Hetzner CCX23: p95 wait 0 s (formula 0 s), 1 machines (formula 1).",
        "Kubernetes, 32 GB machines: p95 wait",
    ):
        assert words in command.out


def test_json_and_pictures(command: Command, tmp_path: Path) -> None:
    """The same as JSON, in another currency, with other assumptions; pictures' tables are written."""
    folder = tmp_path / "pictures"
    asked = ("--currency", "USD", "--assume", "lag=60", "--assume", "session_memory=1e9", "--session", "10m")
    drawn = ("--draw", str(folder), "--format", "csv")
    assert command("plan", "--per-day", "3000", "--json", *asked, *drawn, *QUICK) == 0
    answer = json.loads(command.out)
    assert answer["currency"] == "USD"
    assert {one["plan"]: one["machines"] for one in answer["plans"]}["Azure D48as v5"] == 1300
    assert {path.name for path in folder.iterdir()} == {"providers.csv", "scaling.csv"}


def test_nothing_is_quick_enough(command: Command, tmp_path: Path) -> None:
    """Where no plan will do, that is the answer; a table without clusters compares none."""
    text = BUILT_IN.read_text("utf-8")
    small = (
        text[: text.index("[[machines]]")] + text[text.index('[[machines]]\nprovider = "Hetzner"\nname = "CCX23"') :]
    )
    table = tmp_path / "prices.toml"
    table.write_text(small[: small.index('[[machines]]\nprovider = "Hetzner"\nname = "CCX33"')])
    assert (
        command(
            "plan", "--per-day", "500000", "--prices", str(table), "--draw", str(tmp_path), "--format", "csv", *QUICK
        )
        == 0
    )
    assert "Cheapest with a p95 wait of at most 60 s: none of these." in command.out
    assert not (tmp_path / "scaling.csv").exists()


def test_a_recorded_load(command: Command, tmp_path: Path) -> None:
    """Without a description the load is that of the statistics, with the lengths of this service's sessions."""
    assert command("plan", *QUICK) == 1
    assert "Nothing is known of launches" in command.err
    lines = [event_line(f"2024-05-06T{hour:02}:00:00+00:00") for hour in range(24)]
    assert command("stats", "import", str(write_archive(tmp_path / "archive", {"2024-05-06": lines}))) == 0
    assert command("plan", "--member", "one.test", *QUICK) == 0
    assert "24 launches a day, sessions of 38.4 minutes" in command.out
    store = StatisticsStore(command.state / "statistics.sqlite")
    body = {"outcomes": {}, "codes": {}, "latency": {}, "sessions": [0] * SLOTS, "session_seconds": 0}
    (day,) = {row.day for row in store.days(1, 10**6)}
    store.put_own({day: body | {"lengths": {bucket(600): 5}}})
    assert command("plan", "--json", *QUICK) == 0
    assert json.loads(command.out)["load"]["mean_session_minutes"] == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        (("--assume", "nonsense=1"), 2, "nonsense"),
        (("--assume", "lag=soon"), 2, "lag=soon"),
        (("--session", "2h", "--session-p90", "1h"), 2, "no longer than"),
        (("--prices", "/nowhere.toml"), 1, "/nowhere.toml"),
        (("--currency", "GBP"), 1, "GBP"),
    ],
)
def test_what_is_wrong(command: Command, asked: tuple[str, ...], code: int, says: str) -> None:
    """The message says what cannot be understood."""
    assert command("plan", "--per-day", "10", *asked, *QUICK) == code
    assert says in command.err


def test_waits_in_words() -> None:
    """Short waits are seconds, long ones minutes."""
    assert (seconds(119), seconds(120)) == ("119 s", "2 min")
