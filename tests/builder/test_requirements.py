"""What the lines of requirement files are."""

from __future__ import annotations

import pytest

from binderlet.builder.requirements import Kind, included, parse
from binderlet.errors import BadRepository


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("numpy", Kind.REQUIREMENT),
        ("numpy==1.26  # pinned", Kind.REQUIREMENT),
        ("pandas[excel]>=2,<3; python_version > '3.8'", Kind.REQUIREMENT),
        ("numpy==1.0 --hash=sha256:abc", Kind.REQUIREMENT),
        ("name @ https://example.org/x.whl", Kind.REQUIREMENT),
        ("git+https://example.org/r.git@main#egg=r", Kind.REQUIREMENT),
        ("https://example.org/x.tar.gz", Kind.REQUIREMENT),
        ("numpy==${VERSION}", Kind.REQUIREMENT),
        ("-e git+https://example.org/r.git", Kind.REQUIREMENT),
        ("--editable=git+ssh://git@example.org/r.git", Kind.REQUIREMENT),
        ("-e .", Kind.LOCAL),
        ("-e.", Kind.LOCAL),
        ("--editable ./pkg[all]", Kind.LOCAL),
        ("-e file:///x", Kind.LOCAL),
        ("./wheels/x.whl", Kind.LOCAL),
        ("x-1.0-py3-none-any.whl", Kind.LOCAL),
        ("sub/folder", Kind.LOCAL),
        ("file:./pkg", Kind.LOCAL),
        ("file:///pkg", Kind.LOCAL),
        ("pkg @ file:./pkg", Kind.LOCAL),
        ("-r other.txt", Kind.INCLUDE),
        ("-rother.txt", Kind.INCLUDE),
        ("--requirement=other.txt", Kind.INCLUDE),
        ("-c limits.txt", Kind.CONSTRAINT),
        ("--constraint limits.txt", Kind.CONSTRAINT),
        ("--extra-index-url https://example.org/simple", Kind.OPTION),
        ("--pre", Kind.OPTION),
        ("-f https://example.org/wheels", Kind.OPTION),
        ("-f ./wheels", Kind.LOCAL_INDEX),
        ("--find-links=wheels", Kind.LOCAL_INDEX),
    ],
)
def test_kinds(line: str, kind: Kind) -> None:
    """Each form that pip knows is told apart."""
    assert [found.kind for found in parse(line, "requirements.txt")] == [kind]


def test_comments_blanks_and_continuations() -> None:
    """Lines count from 1, also after continuation lines."""
    text = "# comment\n\nnumpy \\\n  >=1\npandas # more\n \\\n# a comment ends it\nscipy\\\n"
    assert [(line.number, line.text) for line in parse(text, "r")] == [(3, "numpy   >=1"), (5, "pandas"), (8, "scipy")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("numpy=1.0", "two equals signs"),
        ("there=0.0.12", "name==1.0"),
        ("numpy>=0.0.*", "is not a requirement"),
        ("numpy pandas", "is not a requirement"),
        ("<<<<<<< HEAD", "is not a requirement"),
        ("-r", "names no file"),
        ("-r 'other.txt", "cannot be read"),
        ("--pre 'x", "cannot be read"),
    ],
)
def test_wrong_line_is_named(line: str, words: str) -> None:
    """A line that no installer can read is refused with its file and number."""
    with pytest.raises(BadRepository, match=r"binder/requirements\.txt, line 2: .*" + words):
        parse(f"scipy\n{line}\n", "binder/requirements.txt")


def test_included_paths_are_relative_to_their_file() -> None:
    """Includes are found beside the file that names them; those to download are left to the installer."""
    text = "-r ../dev.txt\n-c limits.txt\n-r https://example.org/r.txt\nnumpy"
    assert included(text, "binder/requirements.txt") == ["dev.txt", "binder/limits.txt"]


@pytest.mark.parametrize("target", ["../outside.txt", "/etc/passwd", "..", "a/../../x"])
def test_includes_stay_in_repository(target: str) -> None:
    """An include that leads out of the repository is refused."""
    with pytest.raises(BadRepository, match=r"line 1: .* is not in the repository"):
        included(f"-r {target}", "requirements.txt")


def test_arguments() -> None:
    """A line becomes what a command line needs."""
    lines = parse("-e '.[a b]'\n./pkg ; python_version > '3'\n", "r")
    assert [line.arguments for line in lines] == [["-e", ".[a b]"], ["./pkg ; python_version > '3'"]]
    assert [line.is_package for line in lines] == [True, True]
