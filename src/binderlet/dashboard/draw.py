"""Draws charts into SVG and PNG files with matplotlib, which only whoever wants such files needs.

``python -m binderlet.dashboard.draw svg`` reads a chart as pickle on standard input and writes the picture on standard
output: the service draws in a process of its own, as matplotlib takes more memory than the service.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from binderlet.dashboard.charts import Chart, Kind, Value
from binderlet.errors import MissingProgram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0a6b5d", "#e2603b", "#3f6fb5", "#b08a1e", "#7d4f9e", "#4f8f3a", "#b5406e", "#5b6675", "#9aa3af")
"""Told apart by people who see no red or green too, with the order of lightness."""
DASHES = ("-", "--", "-.", ":")
FORMATS = ("svg", "png")
TIMEOUT = 60.0
MANY = 12
"""Bars with names from which on they lie, so that names can be read."""
SETTINGS: Any = {"svg.hashsalt": "binderlet", "svg.fonttype": "none", "font.size": 10.0, "axes.axisbelow": True}


def draw(chart: Chart, kind: str) -> bytes:
    """Draw a chart as ``svg`` or ``png``; the same chart always gives the same file.

    Raises:
        MissingProgram: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra, and heavy
        from matplotlib.figure import Figure  # noqa: PLC0415 - same
    except ImportError as error:
        raise MissingProgram(
            "matplotlib, which draws pictures, is not installed.", hint="pip install 'binderlet[plots]'"
        ) from error
    with mpl.rc_context(SETTINGS):
        lies = chart.kind is Kind.BARS and len(chart.labels) <= 40 and max(map(len, chart.labels), default=0) > 8  # noqa: PLR2004 - long names
        figure = Figure(figsize=(9, max(3.0, 0.32 * len(chart.positions) + 1.2) if lies else 4.2), layout="constrained")
        axes = figure.add_subplot()
        if chart.kind is Kind.BARS:
            _bars(axes, chart, lies=lies)
        else:
            _over_time(axes, chart)
        axes.set_title(chart.title, loc="left", fontweight="bold")
        axes.grid(visible=True, axis="x" if lies else "y", color="#dddddd", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        if len(chart.series) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        out = io.BytesIO()
        facts = {"Title": chart.title, "Description": chart.note}
        figure.savefig(out, format=kind, dpi=144, metadata=facts | ({"Date": None} if kind == "svg" else {}))
    return out.getvalue()


def _bars(axes: Axes, chart: Chart, *, lies: bool) -> None:
    width = 0.8 / max(1, len(chart.series))
    for index, series in enumerate(chart.series):
        places = [place + (index - (len(chart.series) - 1) / 2) * width for place in range(len(chart.positions))]
        heights = [value or 0.0 for value in series.values]
        (axes.barh if lies else axes.bar)(places, heights, width, label=series.name, color=colour(index))
    if lies:
        axes.set_yticks(range(len(chart.labels)), chart.labels)
        axes.invert_yaxis()
        axes.set_xlabel(chart.unit)
    else:
        axes.set_xticks(range(len(chart.labels)), chart.labels, rotation=60 if len(chart.labels) > MANY else 0)
        axes.set_ylabel(chart.unit)


def _over_time(axes: Axes, chart: Chart) -> None:
    places: Sequence[Any] = chart.positions
    if chart.is_time:
        places = [datetime.fromtimestamp(at, UTC) for at in chart.positions]
    if chart.kind is Kind.STACK:
        names = [series.name for series in chart.series]
        values = [[value or 0.0 for value in series.values] for series in chart.series]
        if values:
            axes.stackplot(places, *values, labels=names, colors=[colour(index) for index in range(len(names))])
    else:
        for index, series in enumerate(chart.series):
            style = DASHES[index % len(DASHES)]
            axes.plot(places, gaps(series.values), style, label=series.name, color=colour(index), linewidth=1.6)
    for mark in chart.marks:
        at: Any = datetime.fromtimestamp(mark.at, UTC) if chart.is_time else mark.at
        axes.axvline(at, color="#1d2433", linewidth=1, linestyle=":")
        axes.annotate(
            mark.text, (at, 1), xycoords=("data", "axes fraction"), fontsize=8, rotation=90, va="top", ha="right"
        )
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(chart.unit)
    axes.set_xlabel("" if chart.is_time else chart.axis)
    if chart.is_time:
        axes.figure.autofmt_xdate(rotation=30)


def gaps(values: Sequence[Value]) -> list[float]:
    """Give values as matplotlib draws gaps."""
    return [float("nan") if value is None else value for value in values]


def colour(index: int) -> str:
    """Give the colour of a series."""
    return COLOURS[index % len(COLOURS)]


def draw_apart(chart: Chart, kind: str) -> bytes:
    """Draw a chart in a process of its own; blocks until it is done.

    Raises:
        MissingProgram: matplotlib is not installed, or does not work.
    """
    command = [sys.executable, "-m", "binderlet.dashboard.draw", kind]
    done = subprocess.run(command, input=pickle.dumps(chart), capture_output=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MissingProgram(
            f"The picture cannot be drawn: {lines[-1] if lines else 'no reason was given'}.",
            hint="pip install 'binderlet[plots]' for the service's Python; the same as table: .csv and .json.",
        )
    return done.stdout


def main() -> None:
    """Draw what standard input asks for."""
    chart: Chart = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from our own parent process
    sys.stdout.buffer.write(draw(chart, sys.argv[1]))


if __name__ == "__main__":
    main()
