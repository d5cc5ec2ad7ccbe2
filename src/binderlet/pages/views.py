"""Fills the templates. Everything is read once, when ``Pages`` is made; afterwards no call does any I/O."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from binderlet import __version__
from binderlet.config import Settings
from binderlet.dashboard.charts import Chart, moment
from binderlet.pages.assets import StaticFile, read_logo, read_static, read_templates

SPONSOR_LOGO = "sponsor-logo"
DESCRIPTION = "Reproducible, sharable, open, interactive computing environments."
SAFE_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True, slots=True)
class Html:
    """One page and the policy it is sent with."""

    html: str
    csp: str


class Pages:
    """All pages of one service. Making it reads files: do that off the event loop."""

    def __init__(self, settings: Settings, displays: Sequence[Mapping[str, Any]], version: str = __version__) -> None:
        self._settings = settings
        self._displays = [dict(display) for display in displays]
        self._version = version
        self._files = read_static()
        sponsor = settings.sponsor
        if sponsor.logo:
            self._files[SPONSOR_LOGO] = read_logo(Path(sponsor.logo))
        environment = Environment(loader=read_templates(), autoescape=True, undefined=StrictUndefined)
        environment.globals.update(
            static=self._static_url,
            title=settings.pages.title,
            has_statistics=settings.statistics.pages,
            banner=Markup(settings.pages.banner),  # noqa: S704 - the operator's own HTML
            about=Markup(settings.pages.about),  # noqa: S704 - same
            version=version,
            description=f"{DESCRIPTION} Hosted by {sponsor.name}." if sponsor.name else DESCRIPTION,
            sponsor=sponsor,
            sponsor_logo=self._static_url(SPONSOR_LOGO) if sponsor.logo else "",
        )
        names = ("home", "launch", "about", "status", "statistics", "problem")
        self._templates = {name: environment.get_template(f"{name}.html") for name in names}

    def home(self, base: str) -> Html:
        """Make the form that makes links and badges."""
        return self._page("home", base, providers=self._displays)

    def launch(self, base: str, provider: str, spec: str, build_token: str) -> Html:
        """Make the page that follows a launch; ``spec`` is percent-encoded."""
        display = next(entry for entry in self._displays if entry["id"] == provider)
        return self._page(
            "launch",
            base,
            config={"buildToken": build_token},
            provider_name=display["displayName"],
            spec=spec,
            readable_spec=unquote(spec),
        )

    def about(self, base: str) -> Html:
        """Say what this service is."""
        return self._page("about", base)

    def status(self, base: str) -> Html:
        """Show how this service is."""
        return self._page("status", base)

    def statistics(
        self, base: str, charts: Sequence[Chart], *, query: str, presets: Sequence[tuple[str, str]], archive: bool
    ) -> Html:
        """Show charts, each with its table; ``query`` asks for the same days."""
        days = dict(parse_qsl(query))
        shown = [
            {
                "id": chart.id,
                "title": chart.title,
                "note": chart.note,
                "rows": chart.rows(),
                "marks": [f"{moment(mark.at)}: {mark.text}" for mark in chart.marks],
            }
            for chart in charts
        ]
        return self._page(
            "statistics",
            base,
            charts=shown,
            query=query,
            first=days["from"],
            last=days["to"],
            presets=presets,
            formats=("csv", "json", "svg", "png"),
            archive=archive,
        )

    def problem(self, base: str, status: int, message: str, hint: str) -> Html:
        """Show an error to people."""
        return self._page("problem", base, status=status, message=message, hint=hint)

    def asset(self, path: str) -> StaticFile | None:
        """Give the static file of that path."""
        return self._files.get(path)

    def _static_url(self, name: str) -> str:
        return f"/static/{name}?v={self._files[name].version}"

    def _page(self, name: str, base: str, *, config: Mapping[str, Any] | None = None, **values: object) -> Html:
        page_config = {
            "baseUrl": "/",
            "badgeBaseUrl": self._settings.launch_host or base,
            "logoUrl": self._static_url("logo.svg"),
            "logoWidth": "320px",
            "repoProviders": self._displays,
            "aboutMessage": self._settings.pages.about,
            "bannerHtml": self._settings.pages.banner,
            "binderVersion": self._version,
            **(config or {}),
        }
        script = f"window.pageConfig = {script_json(page_config)};"
        html = self._templates[name].render(base=base, page_config=Markup(script), **values)  # noqa: S704 - escaped by script_json
        return Html(html, self._policy(script, frames=name == "launch"))

    def _policy(self, script: str, *, frames: bool) -> str:
        """Give the Content-Security-Policy; courses may frame the launch page, nobody the others.

        In a federation, ``/build`` may be redirected to another member, whose name is not known here.
        """
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        name = self._settings.launch_host
        others = "" if not name else " https:" if name.startswith("https:") else " http: https:"
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src 'self' 'sha256-{digest}'",
                "style-src 'self'",
                "img-src 'self' data:",
                f"connect-src 'self'{others}",
                "form-action 'self'",
                "base-uri 'none'",
                f"frame-ancestors {'*' if frames else chr(39) + 'self' + chr(39)}",
            )
        )


def script_json(value: object) -> str:
    """Write JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in SAFE_IN_SCRIPT.items():
        text = text.replace(character, escape)
    return text
