"""Pictures of charts."""

from __future__ import annotations

import builtins
import io
import pickle
import runpy
import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from binderlet.dashboard import draw as drawing
from binderlet.dashboard.charts import Chart, Kind, Mark, Series
from binderlet.dashboard.draw import draw, draw_apart
from binderlet.errors import MissingProgram

CHART = Chart(
    "launches",
    "Launches & more",
    "By member.",
    Kind.STACK,
    "launches",
    (86400.0, 172800.0, 259200.0),
    (Series("one", (1.0, 2.0, None)), Series("two", (3.0, 1.0, 2.0))),
    marks=(Mark(172800.0, "two joined"),),
)
BARS = replace(CHART, kind=Kind.BARS, labels=("GitHub/a/long-name", "b", "c"), marks=())
SHAPES = {
    "stack": CHART,
    "nothing stacked": replace(CHART, series=()),
    "lines": replace(CHART, kind=Kind.LINES),
    "numbers": replace(CHART, kind=Kind.LINES, is_time=False, positions=(0.0, 1.0, 2.0), marks=(Mark(1.0, "x"),)),
    "lying bars": BARS,
    "bars": replace(BARS, labels=("1", "2", "3")),
    "one series": replace(BARS, series=BARS.series[:1]),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("chart", SHAPES.values(), ids=SHAPES)
def test_svg(chart: Chart) -> None:
    """Every kind of chart becomes an SVG with its words as text, and the same one each time."""
    picture = draw(chart, "svg")
    root = ET.fromstring(picture)  # noqa: S314 - our own
    words = "".join(root.itertext())
    assert "Launches & more" in words
    assert picture == draw(chart, "svg")


@pytest.mark.timeout(60)
def test_png() -> None:
    """The same as pixels."""
    assert draw(CHART, "png").startswith(b"\x89PNG")


@pytest.mark.timeout(60)
def test_in_a_process_of_its_own() -> None:
    """The service draws without loading what draws."""
    assert draw_apart(CHART, "svg") == draw(CHART, "svg")


@pytest.mark.timeout(60)
def test_what_goes_wrong_there_is_told() -> None:
    """The last words of the process are in the error."""
    with pytest.raises(MissingProgram, match="bmp"):
        draw_apart(CHART, "bmp")


def test_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a chart on standard input and writes the picture on standard output."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["draw", "svg"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pickle.dumps(CHART))))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy: the module was imported before
        runpy.run_module("binderlet.dashboard.draw", run_name="__main__")
    assert b"<svg" in out.getvalue()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as __import__
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingProgram, match="matplotlib") as raised:
        draw(CHART, "svg")
    assert "binderlet[plots]" in raised.value.hint


def test_colours_begin_anew() -> None:
    """There is a colour for any number of series."""
    assert drawing.colour(0) == drawing.colour(len(drawing.COLOURS))
