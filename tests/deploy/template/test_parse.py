"""Go templates are read."""

from __future__ import annotations

import pytest

from binderlet.deploy.template.parse import (
    Assign,
    Choice,
    Literal,
    Name,
    Node,
    Path,
    Pipe,
    Print,
    TemplateError,
    Word,
    parse,
)


def pipe(*words: Word) -> Pipe:
    """Give a single command."""
    return Pipe((words,))


X = Print(pipe(Path(".", ("X",))))


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("text {no} action", ["text {no} action"]),
        ("a {{ .X }} b", ["a ", X, " b"]),
        ("a \n{{- .X -}}\n b", ["a", X, "b"]),
        ("a {{/* words {{ */}} b", ["a ", " b"]),
        ("a {{- /* words */ -}} b", ["a", "b"]),
        ("{{ . }}", [Print(pipe(Path(".", ())))]),
        ("{{ $.A.b }}", [Print(pipe(Path("$", ("A", "b"))))]),
        (
            '{{ f "x\\ty" `z` -3 true }}',
            [Print(pipe(Name("f"), Literal("x\ty"), Literal("z"), Literal(-3), Literal(True)))],
        ),
        (
            "{{ f (g .X) | h 2 }}",
            [Print(Pipe(((Name("f"), pipe(Name("g"), Path(".", ("X",)))), (Name("h"), Literal(2)))))],
        ),
        ("{{ $a := .X }}", [Assign("$a", pipe(Path(".", ("X",))))]),
        ("{{ if .X }}1{{ else }}2{{ end }}3", [Choice("if", X.pipe, (), ("1",), ("2",)), "3"]),
        (
            "{{ if .X }}1{{ else if .Y }}2{{ else }}3{{ end }}",
            [Choice("if", X.pipe, (), ("1",), (Choice("if", pipe(Path(".", ("Y",))), (), ("2",), ("3",)),))],
        ),
        ("{{ range $k, $v := .X }}1{{ end }}", [Choice("range", X.pipe, ("$k", "$v"), ("1",), ())]),
        ("{{ with .X }}{{ range . }}1{{ end }}{{ end }}", None),
    ],
)
def test_read(source: str, body: list[Node] | None) -> None:
    """Texts, values, conditions, ranges and variables are what they are in Go."""
    found = parse(source)
    assert not found.defined
    if body is None:
        (outer,) = found.body
        assert isinstance(outer, Choice)
        assert isinstance(outer.body[0], Choice)
    else:
        assert list(found.body) == body


def test_definitions() -> None:
    """What is defined is not shown where it is."""
    found = parse('a{{ define "x" }}b{{ .X }}{{ end }}c')
    assert found.body == ("a", "c")
    assert found.defined == {"x": ("b", X)}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ if .X }}", "'if' has no end"),
        ("{{ end }}", "'end' ends nothing"),
        ("{{ else }}", "'else' ends nothing"),
        ("{{ }}", "no value"),
        ("{{ f | }}", "no value"),
        ("{{ f ) }}", "one too many"),
        ("{{ (f }}", "no end"),
        ("{{ a := 1 }}", "does not belong"),
        ("{{ define .X }}{{ end }}", "no name"),
        ("{{ f 'x' }}", "not understood"),
    ],
)
def test_not_understood(source: str, why: str) -> None:
    """What is no template, or one of which more is used, is refused."""
    with pytest.raises(TemplateError, match=why):
        parse(source)
