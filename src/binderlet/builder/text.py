"""Reads the text files of repositories, whatever their encoding (pure)."""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any

from binderlet.errors import BadRepository

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)")


def decode(content: bytes, path: str) -> tuple[str, str]:
    """Give the text with Unix line ends, and a sentence for the log where the file is not UTF-8.

    Raises:
        BadRepository: the file is not text.
    """
    text, note = _decode(content, path)
    if "\0" in text:
        raise BadRepository(f"{path} is not a text file.")
    return text.replace("\r\n", "\n").replace("\r", "\n"), note


def read_toml(content: bytes, path: str) -> dict[str, Any]:
    """Give the body of a TOML file.

    Raises:
        BadRepository: it is not TOML; the message names file, line and column.
    """
    try:
        return tomllib.loads(decode(content, path)[0])
    except tomllib.TOMLDecodeError as error:
        raise BadRepository(f"{path}{_at_line(str(error))} is not valid TOML: {_without_place(str(error))}.") from error


def _at_line(reason: str) -> str:
    found = re.search(r"\(at line (\d+)", reason)
    return f", line {found[1]}," if found else ""


def _without_place(reason: str) -> str:
    return re.sub(r" \(at (line \d+, column \d+|end of document)\)", "", reason)


def _decode(content: bytes, path: str) -> tuple[str, str]:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding), ""
            except UnicodeDecodeError as error:
                raise BadRepository(f"{path} is not valid {encoding[:6].upper()}: {error.reason}.") from error
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError:
        encoding = _declared(content)
        return content.decode(encoding), f"{path} is not UTF-8: it is read as {encoding}."


def _declared(content: bytes) -> str:
    """Give the encoding that one of the first two lines declares, as for pip, else Latin-1, which fits anything."""
    for line in content.split(b"\n")[:2]:
        if found := CODING.match(line):
            name = found[1].decode("ascii")
            try:
                content.decode(name)
            except (LookupError, UnicodeDecodeError):
                continue
            return name
    return "latin-1"
