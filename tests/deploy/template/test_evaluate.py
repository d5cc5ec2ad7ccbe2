"""Templates are evaluated."""

from __future__ import annotations

from typing import Any

import pytest

from binderlet.deploy.template.evaluate import Renderer
from binderlet.deploy.template.parse import TemplateError, parse

DATA: dict[str, Any] = {
    "X": "x",
    "None": None,
    "Map": {"b": 2, "a": 1},
    "List": ["p", "q"],
    "Call": lambda word: f"<{word}>",
}


def rendered(source: str) -> str:
    """Render a template."""
    template = parse(source)
    return Renderer(template.defined).render(template.body, DATA)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a{{ .X }}", "ax"),
        ("{{ .Missing.deeper }}{{ .None }}", ""),
        ("{{ if .X }}1{{ else }}2{{ end }}{{ if .None }}1{{ else }}2{{ end }}", "12"),
        ("{{ with .Map }}{{ .a }}{{ $.X }}{{ end }}{{ with .None }}1{{ else }}{{ .X }}{{ end }}", "1xx"),
        ("{{ range .List }}{{ . }},{{ end }}{{ range .None }}1{{ else }}{{ .X }}{{ end }}", "p,q,x"),
        ("{{ range $k, $v := .Map }}{{ $k }}={{ $v }};{{ end }}", "a=1;b=2;"),
        ("{{ range $v := .List }}{{ $v }}{{ end }}", "pq"),
        ("{{ $a := .X }}{{ if .X }}{{ $a }}{{ $a := 2 }}{{ $a }}{{ end }}{{ $a }}", "x2x"),
        ('{{ define "d" }}[{{ .a }}]{{ end }}{{ include "d" .Map | quote }}', '"[1]"'),
        ('{{ .Call "y" }}{{ .X | printf "%s-%s" "z" }}', "<y>z-x"),
        ("{{ .None | default dict | toJson }}", "{}"),
        ("{{ not (eq .X `x`) }}", "false"),
    ],
)
def test_rendered(source: str, expected: str) -> None:
    """Values, conditions, ranges, variables and definitions give what they give in Go."""
    assert rendered(source) == expected


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ lookup 1 }}", "'lookup' is not known"),
        ("{{ $a }}", "variable"),
        ('{{ include "d" . }}', "nothing is defined"),
        ("{{ .X 1 }}", "no argument"),
    ],
)
def test_not_known(source: str, why: str) -> None:
    """What is not known is named."""
    with pytest.raises(TemplateError, match=why):
        rendered(source)
