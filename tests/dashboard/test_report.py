"""The report as Markdown and HTML."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from binderlet.dashboard.charts import Chart, Kind, Series
from binderlet.dashboard.evaluation import Evaluation, Outage, Uptime, Without, money_of
from binderlet.dashboard.notes import Note
from binderlet.dashboard.report import SHOWN, amount, plain, sections, to_html, to_markdown

FIRST = date(2027, 1, 1).toordinal()
CHART = Chart("launches", "Launches <day>", "By member.", Kind.STACK, "", (0.0,), (Series("a", (1.0,)),))
TOLD = Evaluation(
    FIRST,
    FIRST + 180,
    "vm.test",
    70_000,
    100_000,
    {"vm.test": 70_000, "other.test": 30_000, "gone.test": 0},
    {"success": 69_000, "failure": 1_000},
    {"session_died": 1_000},
    {"ready": (0.12, 1.9, 3.0), "built": (None, None, None)},
    40_000.0,
    212,
    Uptime(
        0.9991, 1_798_761_600.0, (Outage(1_798_800_000.0, 1200.0, ran=False), Outage(1_798_790_000.0, 600.0, ran=True))
    ),
    money_of(2100.0, 70_000, 40_000.0, "EUR"),
    [Note(1_798_800_000.0, "incident", 45, "disk | full <script>")],
    Without(70_000, 3.33, 12_000),
)
NOTHING = Evaluation(
    FIRST, FIRST, "vm.test", 0, 0, {}, {}, {}, dict.fromkeys(("ready", "built"), (None, None, None)), 0.0, 0,
    Uptime(None, 0), None,
)  # fmt: skip


def test_markdown() -> None:
    """Every number is there, in sentences and tables, and the pictures are named."""
    text = to_markdown(TOLD, [CHART], {"launches": "r-launches.svg"})
    for words in (
        "# vm.test, 2027-01-01 to 2027-06-30",
        "| Share of the federation | 70.0 % |",
        "vm.test served 70,000 launches in 181 days, 387 a day, 70.0 % of the 100,000 launches of the federation.",
        "99.91 % of the time; 2 times it was not",
        "2027-01-01 07:53 UTC: 10 minutes not well",
        "98.6 % of the launches that were let in led to a session. The errors were: session_died 1,000.",
        "| The image was there | median 0.12 s, p95 1.9 s, p99 3 s |",
        "EUR 2,100.00 for 181 days.",
        "EUR 0.03 for a launch.",
        "1 interventions with 'binderlet note', 1 of them incidents, 0.8 hours in all.",
        "disk \\| full &lt;script>",
        "would have had to serve 70,000 more launches, 3.33 times what they did.",
        "![Launches <day>](r-launches.svg)",
    ):
        assert words in text
    assert "gone.test" not in text


def test_html_stands_alone() -> None:
    """The page names nothing outside of it, and what operators wrote is text."""
    page = to_html(TOLD, [CHART], {"launches": b"<svg/>"})
    assert "data:image/svg+xml;base64,PHN2Zy8+" in page
    assert "disk | full &lt;script&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert 'alt="Launches &lt;day&gt;"' in page


def test_a_report_of_nothing() -> None:
    """What is not known is left out, and nothing is divided by it."""
    text = to_markdown(NOTHING, [], {})
    assert "Nothing was noted of whether the service ran." in text
    assert "Cost" not in text
    assert "Without" not in text
    assert "of the federation" not in text
    assert "<h2>Launches</h2>" in to_html(NOTHING, [], {})


def test_long_lists_are_cut() -> None:
    """The longest outages and the first notes are listed, the rest counted."""
    outages = tuple(Outage(float(number), 60.0 * number, ran=False) for number in range(50))
    notes = [Note(float(number), "work", 1, f"note {number}") for number in range(50)]
    told = replace(TOLD, uptime=Uptime(0.5, 0, outages), notes=notes, without=Without(1, None, 0))
    told = replace(told, money=money_of(100.0, 0, 0.0, "EUR"))
    by_title = {section.title: section for section in sections(told)}
    assert len(by_title["Reliability"].items) == SHOWN
    assert by_title["Cost"].sentences == ["EUR 100.00 for 181 days."]
    assert by_title["Effort"].items[-1] == "and 30 more"
    assert "1 more launches." in by_title["Without vm.test"].sentences[0]


def test_words_and_money() -> None:
    """Small amounts keep a digit; Markdown's own characters stay text."""
    assert amount(0.00312, "EUR") == "EUR 0.0031"
    assert amount(1234.5, "USD") == "USD 1,234.50"
    assert plain("a|b<c\nd\\") == "a\\|b&lt;c d\\\\"
