"""Changing the federation's file leaves the rest as it was."""

from __future__ import annotations

import json

import pytest

from binderlet.errors import ConfigError
from binderlet.federation.edit import change

TOML = """# ours
[members.one] # first
url = "https://one.test"
weight = 5   # half
prime = true

[members."two"]
url = "https://two.test"

[check]
period = 15
"""


def test_toml() -> None:
    """A key is set where it was, or put first; comments and other tables stay."""
    changed = change(TOML, "f.toml", "one", {"weight": 7, "drain": True})
    assert changed == TOML.replace("weight = 5   # half\n", "weight = 7\n").replace(
        "# first\n", "# first\ndrain = true\n"
    )
    again = change(changed, "f.toml", "one", {"drain": None})
    assert "drain" not in again
    assert 'ramp_start = "2026-03-01"' in change(TOML, "f.toml", "two", {"ramp_start": "2026-03-01"})


def test_the_last_table() -> None:
    """The last member's table ends with the file."""
    text = '[members.a]\nurl = "https://a.test"'
    assert change(text + "\n", "f.toml", "a", {"weight": 2}) == '[members.a]\nweight = 2\nurl = "https://a.test"\n'


def test_json() -> None:
    """JSON keeps its indentation."""
    text = json.dumps({"hosts": {"one": {"url": "https://one.test", "weight": 5}}}, indent=4) + "\n"
    changed = change(text, "f.json", "one", {"weight": 0})
    assert changed == text.replace("5", "0")
    assert json.loads(change(json.dumps(json.loads(text)), "f.json", "one", {"weight": None, "x": None})) == {
        "hosts": {"one": {"url": "https://one.test"}}
    }


@pytest.mark.parametrize(
    ("text", "file", "said"),
    [
        (TOML, "f.toml", "there is no member 'three'"),
        ('{"hosts": {"a": {}, "b": null}}', "f.json", "there is no member 'three'"),
        ('members.three = {url = "https://x"}', "f.toml", "three has no table of its own"),
        ('[members.three]\nurl = """\n[x]\n"""\nweight = 1\n', "f.toml", "cannot be changed by a program"),
    ],
)
def test_what_cannot_be_changed(text: str, file: str, said: str) -> None:
    """What a program cannot change safely is left alone, and why is said."""
    with pytest.raises(ConfigError) as error:
        change(text, file, "three", {"weight": 9})
    assert said in str(error.value)
