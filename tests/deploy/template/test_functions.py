"""The functions of templates give what Helm's give."""

from __future__ import annotations

import pytest

from binderlet.deploy.template.functions import FUNCTIONS, shown
from binderlet.deploy.template.parse import TemplateError
from binderlet.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("add", (60, 15), 75),
        ("and", ("a", "", "b"), ""),
        ("and", ("a", "b"), "b"),
        ("default", ("x", ""), "x"),
        ("default", ("x", "y"), "y"),
        ("default", ({}, None), {}),
        ("dict", ("a", 1, "b", 2), {"a": 1, "b": 2}),
        ("eq", ("a", "a"), True),
        ("get", ({"a": 1}, "a"), 1),
        ("get", ({"a": 1}, "b"), ""),
        ("hasKey", ({"a": None}, "a"), True),
        ("int64", ("30",), 30),
        ("mul", (30, 1024), 30720),
        ("ne", ("a", "b"), True),
        ("nindent", (2, "a\nb"), "\n  a\n  b"),
        ("not", ([],), True),
        ("or", ("", "b"), "b"),
        ("or", ("", 0), 0),
        ("printf", ("%s-%s", "a", 1), "a-1"),
        ("quote", ('a "b" ä\n',), '"a \\"b\\" ä\\n"'),
        ("quote", (200,), '"200"'),
        ("quote", (True,), '"true"'),
        ("regexFind", ("[0-9]+", "30Gi"), "30"),
        ("regexFind", ("x", "30Gi"), ""),
        ("required", ("words", "x"), "x"),
        ("semverCompare", ("<1.30-0", "v1.29.4"), True),
        ("semverCompare", (">=1.30-0", "v1.30.0"), True),
        ("semverCompare", (">=1.30-0", "v1.9.0"), False),
        ("sha256sum", ("",), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("ternary", (1, 2, True), 1),
        ("ternary", (1, 2, False), 2),
        ("toJson", ({"b": "<ä>&", "a": 1},), '{"a":1,"b":"\\u003cä\\u003e\\u0026"}'),
        ("toYaml", ({"b": [1], "a": "x"},), "a: x\nb:\n- 1"),
        ("toYaml", ("x",), "x"),
        ("tuple", ("a", "b"), ["a", "b"]),
    ],
)
def test_gives(name: str, arguments: tuple[object, ...], expected: object) -> None:
    """Each function, with the arguments that the chart gives it."""
    assert FUNCTIONS[name](*arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("printf", ("%d", 1)),
        ("printf", ("%s",)),
        ("semverCompare", ("~1.3", "v1.3.0")),
        ("semverCompare", ("<1.3-0", "x")),
    ],
)
def test_not_understood(name: str, arguments: tuple[object, ...]) -> None:
    """Forms that the chart does not use are refused, not guessed."""
    with pytest.raises(TemplateError, match="not understood"):
        FUNCTIONS[name](*arguments)


@pytest.mark.parametrize(
    ("name", "arguments"), [("fail", ("why",)), ("required", ("why", "")), ("required", ("why", None))]
)
def test_refused(name: str, arguments: tuple[object, ...]) -> None:
    """Values that the chart refuses are refused with its words."""
    with pytest.raises(ConfigError, match="why"):
        FUNCTIONS[name](*arguments)


@pytest.mark.parametrize(("value", "expected"), [(None, ""), (True, "true"), (3, "3"), ("x", "x")])
def test_shown(value: object, expected: str) -> None:
    """Values are shown as Go shows them; what is missing is empty."""
    assert shown(value) == expected
