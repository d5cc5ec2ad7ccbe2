"""The pages that HAProxy shows on its own: small, self-contained, readable in light and dark."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template


@dataclass(frozen=True, slots=True)
class ErrorPages:
    """The HTML of each page; at most 30,000 bytes each, since HAProxy keeps a page in one buffer."""

    gone: str
    """424: no session of that id, it ended or never was."""
    session_down: str
    """502, 503 or 504: the session is listed but does not answer."""
    control_down: str
    """502, 503 or 504: the control plane does not answer; sessions go on."""

    def by_file(self) -> dict[str, str]:
        """Give the pages by the file names that the configuration uses."""
        return {
            "gone.html": self.gone,
            "session_down.html": self.session_down,
            "control_down.html": self.control_down,
        }


def default_pages(title: str = "binderlet") -> ErrorPages:
    """Make the pages for a service of this name."""
    style, retry = _read("style.css"), _read("retry.js")
    pages = {
        name: Template(_read(f"{name}.html")).substitute(title=escape(title), style=style, retry=retry)
        for name in ("gone", "session_down", "control_down")
    }
    return ErrorPages(**pages)


def _read(name: str) -> str:
    return (files("binderlet.router") / "pages" / name).read_text(encoding="utf-8")
