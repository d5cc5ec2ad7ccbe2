"""Which Python a repository gets."""

from __future__ import annotations

import pytest

from binderlet.builder.detect import Detected
from binderlet.builder.pythons import OtherPythonError, Pythons, read_runtime
from binderlet.errors import BadRepository

PYTHONS = Pythons("3.11", ("3.10", "3.12"))


def runtime(text: str, chosen: str = "") -> tuple[str, str, list[str]]:
    """Read a ``runtime.txt``."""
    reasons: list[str] = []
    python, day = read_runtime(Detected(files={"runtime.txt": text.encode()}), PYTHONS, reasons, chosen)
    return python, day, reasons


def test_choose() -> None:
    """What there is here is taken, what repo2docker has is left to it, and for the rest all are listed by age."""
    assert [PYTHONS.choose("f", version) for version in ("3.10", "3.11", "3.12")] == ["3.10", "3.11", "3.12"]
    with pytest.raises(
        OtherPythonError, match=r"f asks for Python 3\.7 and this service has Python 3\.10, 3\.11, 3\.12"
    ):
        PYTHONS.choose("f", "3.7")
    with pytest.raises(BadRepository, match=r"f asks for Python 3\.99, which is not available") as raised:
        PYTHONS.choose("f", "3.99")
    assert (
        "Python 2.7, 3.5, 3.6, 3.7, 3.8, 3.9, 3.10, 3.11, 3.12, 3.13, 3.14. 3.11 is the quickest" in raised.value.hint
    )


def test_newest() -> None:
    """The service's own comes first, then the newest made here, then repo2docker's."""
    assert PYTHONS.newest(lambda _: True) == "3.11"
    assert PYTHONS.newest(lambda each: each != "3.11") == "3.12"
    assert PYTHONS.newest(lambda each: each in {"3.6", "3.7"}) == "3.7"
    assert PYTHONS.newest(lambda _: False) == ""


@pytest.mark.parametrize(
    ("text", "python", "day", "words"),
    [
        ("python-3.12", "3.12", "", "Python 3.12"),
        ("python-3.10-2023-02-03", "3.10", "2023-02-03", "those of 2023-02-03"),
        ("python-3", "3.11", "", "leaves the version of Python open"),
        ("python-2023-02-03", "3.11", "2023-02-03", "leaves the version of Python open"),
        ("julia-1.9", "3.11", "", "asks for nothing that is known here"),
    ],
)
def test_runtime(text: str, python: str, day: str, words: str) -> None:
    """Each form of ``runtime.txt``, with what the log says."""
    found = runtime(text)
    assert found[:2] == (python, day)
    assert any(words in reason for reason in found[2])


def test_no_runtime() -> None:
    """Without a ``runtime.txt`` it is what another file has chosen, or the service's own."""
    assert read_runtime(Detected(files={}), PYTHONS, []) == ("3.11", "")
    assert read_runtime(Detected(files={}), PYTHONS, [], "3.12") == ("3.12", "")


def test_runtime_beside_another_file() -> None:
    """Where another file has chosen the Python, the date still counts."""
    python, day, reasons = runtime("python-3.10-2023-02-03", "3.12")
    assert (python, day) == ("3.12", "2023-02-03")
    assert "its version of Python is left out" in reasons[0]


def test_odd_encoding() -> None:
    """It is noted."""
    reasons: list[str] = []
    read_runtime(Detected(files={"runtime.txt": b"caf\xe9-1"}), PYTHONS, reasons)
    assert "not UTF-8" in reasons[0]


def test_patch_level() -> None:
    """A patch level is refused, with the versions that there are."""
    with pytest.raises(BadRepository, match=r"must be given as 'x\.y'") as raised:
        runtime("python-3.12.1")
    assert "3.10, 3.11, 3.12" in raised.value.hint
