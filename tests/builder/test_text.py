"""Reading text files of any encoding."""

from __future__ import annotations

import pytest

from binderlet.builder.text import decode, read_toml
from binderlet.errors import BadRepository


@pytest.mark.parametrize(
    ("content", "text", "note"),
    [
        (b"numpy\n", "numpy\n", ""),
        (b"\xef\xbb\xbfnumpy\r\n", "numpy\n", ""),
        ("numpy\n".encode("utf-16"), "numpy\n", ""),
        ("numpy\n".encode("utf-16-be"), None, ""),
        ("# café\n".encode(), "# café\n", ""),
        (b"# caf\xe9\n", "# café\n", "x is not UTF-8: it is read as latin-1."),
        (b"# coding: cp1252\n# \x80\n", "# coding: cp1252\n# €\n", "x is not UTF-8: it is read as cp1252."),
        (b"# coding: nonsense\n# \xe9\n", "# coding: nonsense\n# é\n", "x is not UTF-8: it is read as latin-1."),
        (b"# coding: ascii\n# \xe9\n", "# coding: ascii\n# é\n", "x is not UTF-8: it is read as latin-1."),
        (b"\xef\xbb\xbf\xe9\n", None, ""),
        (b"\x00\x01\x02", None, ""),
    ],
)
def test_decode(content: bytes, text: str | None, note: str) -> None:
    """UTF-8, marks, declared encodings and Latin-1 are read; what is not text is refused."""
    if text is None:
        with pytest.raises(BadRepository, match=r"^x is not"):
            decode(content, "x")
    else:
        assert decode(content, "x") == (text, note)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\nb = \n", r"x\.toml, line 2, is not valid TOML: Invalid value\."),
        (b"[a", r"x\.toml is not valid TOML: .*"),
        (b"\0", r"x\.toml is not a text file"),
    ],
)
def test_wrong_toml(content: bytes, words: str) -> None:
    """What is not TOML is refused with its place in the file."""
    with pytest.raises(BadRepository, match=words):
        read_toml(content, "x.toml")


def test_toml() -> None:
    """TOML is read, whatever its line ends."""
    assert read_toml(b"[a]\r\nb = 1\r\n", "x.toml") == {"a": {"b": 1}}
