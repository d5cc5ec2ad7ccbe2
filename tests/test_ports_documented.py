"""Every port says what it guarantees: habits of interfaces, checked over all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "binderlet"
PORTS = sorted(SOURCE.rglob("base.py"))
Method = ast.FunctionDef | ast.AsyncFunctionDef


def protocols(file: Path) -> Iterator[ast.ClassDef]:
    """The protocols of a file."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases
        ):
            yield node


METHODS = [
    pytest.param(method, id=f"{file.parent.name}.{protocol.name}.{method.name}")
    for file in PORTS
    for protocol in protocols(file)
    for method in protocol.body
    if isinstance(method, Method)
]


def test_there_are_ports() -> None:
    """The look-out works: the five ports of a launch are found."""
    assert {"providers", "builder", "images", "engine", "router"} <= {file.parent.name for file in PORTS}


@pytest.mark.parametrize("file", PORTS, ids=lambda file: file.parent.name)
def test_port_names_its_contract(file: Path) -> None:
    """Each port has a protocol with a docstring, and names the suite that all its implementations pass."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert f"tests/{file.parent.relative_to(SOURCE)}/test_contract.py" in (ast.get_docstring(tree) or "")
    found = list(protocols(file))
    assert found
    assert all(ast.get_docstring(protocol) for protocol in found)


@pytest.mark.parametrize("method", METHODS)
def test_guarantees(method: Method) -> None:
    """Each method says in a full sentence what it does, and no more than its own name."""
    text = ast.get_docstring(method) or ""
    first = text.partition("\n")[0]
    assert first.endswith((".", ":")), "the first line is a sentence"
    assert len(first.split()) >= 3


@pytest.mark.parametrize("method", METHODS)
def test_errors(method: Method) -> None:
    """A method that waits for something outside says which of our errors it raises, or that it needs none."""
    if not isinstance(method, ast.AsyncFunctionDef) or method.name in {"close", "shutdown"}:
        return
    text = ast.get_docstring(method) or ""
    raised = re.findall(r"^    ([A-Z]\w+): \S", text.partition("Raises:")[2], re.MULTILINE)
    assert raised, "it has a Raises section that names errors"
    errors = (SOURCE / "errors.py").read_text(encoding="utf-8")
    assert [name for name in raised if f"class {name}(" not in errors] == []
