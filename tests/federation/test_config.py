"""The federation's file, in both kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binderlet.errors import ConfigError
from binderlet.federation.config import Balance, Skew, parse, read, sentence
from support.federation import MYBINDER, federation

TOML = """
url = "https://mybinder.org"
load_balancer = "rendezvous"

[check]
period = "10s"

[members.one]
url = "https://one.example.org/"
weight = 70
prime = true

[members.two]
url = "https://two.example.org"
weight = 30
budget = 100_000
ramp_start = 2026-03-01
"""


def test_mybinder_as_it_is(tmp_path: Path) -> None:
    """The file of mybinder.org's redirector is read unchanged: a host that is null is gone, slashes are taken off."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(MYBINDER))
    found = read(file)
    assert list(found.members) == ["hetzner-2i2c", "hetzner-gesis", "bids-ovh"]
    assert found.primes == ["hetzner-2i2c"]
    assert found.members["hetzner-2i2c"].url == "https://2i2c.mybinder.org"
    assert found.members["bids-ovh"].health_url == "https://bids.mybinder.org/health"
    assert found.members["bids-ovh"].versions_url == "https://bids.mybinder.org/versions"
    assert (found.url, found.cookie, found.badges) == ("https://mybinder.org", 4 * 3600, "https://static.mybinder.org")
    assert (found.load_balancer, found.versions.rule, found.spread.reserve) == (Balance.RANDOM, Skew.SAME, 10)
    assert (found.check.period, found.check.failed_period, found.check.timeout) == (15, 90, 5)


def test_a_small_json() -> None:
    """What the JSON leaves out has its default, and keys for other programs do not matter."""
    body = {"hosts": {"a": {"url": "https://a.test", "prime": True, "colour": "red"}}, "page": "x"}
    found = parse(json.dumps(body), "x.json")
    assert found.members["a"].health_url == "https://a.test/health"
    assert found.url == ""
    assert parse(json.dumps(body | {"host": "fed.test"}), "x.json").url == "https://fed.test"


def test_toml() -> None:
    """The TOML says more, and a weight may follow the calendar."""
    found = parse(TOML, "federation.toml")
    two = found.members["two"]
    assert (two.budget, two.weight, found.check.period) == (100_000, 30, 10)
    begins = 1_772_323_200.0  # 2026-03-01
    assert two.ramp(begins - 1) == 0
    assert two.ramp(begins) == pytest.approx(0.1)
    assert two.ramp(begins + 3.5 * 86400) == pytest.approx(0.55)
    assert two.ramp(begins + 9 * 86400) == 1
    assert found.members["one"].ramp(begins) == 1


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("[", "f.toml", "is not TOML"),
        ("[", "f.json", "is not mybinder's JSON"),
        ("{}", "f.json", "is not mybinder's JSON"),
        (TOML.replace("prime = true", ""), "f.toml", "no member is prime"),
        (TOML.replace("weight = 70", "wieght = 70"), "f.toml", "members.one.wieght: there is no such key"),
        (TOML.replace("two.example", "one.example"), "f.toml", "two members have the same url"),
        (TOML.replace("70", "0").replace("30", "0"), "f.toml", "every weight is 0"),
        (TOML.replace("[members.two]", '[members."a b"]'), "f.toml", "'a b' is no name"),
        (TOML.replace("https://two", "two"), "f.toml", "is not a URL"),
    ],
)
def test_what_is_wrong(text: str, name: str, said: str) -> None:
    """What is wrong is said with its place."""
    with pytest.raises(ConfigError) as error:
        parse(text, name)
    assert said in str(error.value)
    assert str(error.value).startswith(name)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.toml")


def test_sentence() -> None:
    """A problem of the whole has no place."""
    assert sentence((), "Value error, no") == "no."


def test_primes() -> None:
    """Primes come in the file's order."""
    assert federation({"a": 1, "b": 1}, members={"b": {"prime": True}}).primes == ["a", "b"]
