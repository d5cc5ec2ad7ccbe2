"""What a member needs, judged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from binderlet.federation.join import Inside, Outside, Seen, default_name, entry, evaluate
from support.federation import VERSIONS, well

OUTSIDE = Outside(
    "https://m.test",
    certificate_days=60,
    report=well(quota=100, total=4, checks={"a": True}),
    seconds=0.05,
    has_quota=True,
    build_origin="*",
    build_answer="{}",
    archive_age_days=0.5,
)
INSIDE = Inside(
    "https://m.test/",
    "https://fed.test/",
    archive=True,
    archive_origin="m.test",
    mirrors_versions=True,
    sponsor="X",
    secret_is_set=True,
)
GOOD = Seen("m", "https://fed.test", OUTSIDE, INSIDE, VERSIONS, "")


def levels(seen: Seen) -> dict[str, str]:
    """Each check and its level, where it is not well."""
    return {finding.check: finding.level for finding in evaluate(seen) if finding.level != "ok"}


def test_all_is_well() -> None:
    """A member that has everything has nothing to mend."""
    assert levels(GOOD) == {}
    assert all(
        finding.mend == "" for finding in evaluate(replace(GOOD, outside=replace(OUTSIDE, archive_age_days=0.5)))
    )


def test_not_reached() -> None:
    """Where nothing answers there is one thing to say."""
    (finding,) = evaluate(replace(GOOD, outside=Outside("https://m.test", error="refused")))
    assert (finding.level, finding.as_dict()["check"]) == ("fail", "address")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"certificate_days": None}, {"TLS": "fail"}),
        ({"certificate_days": 3}, {"TLS": "warn"}),
        ({"report": well(quota=9, trouble="not well: x")}, {"/health": "fail"}),
        ({"report": well(quota=9, draining=True)}, {"/health": "warn"}),
        ({"seconds": 3.0}, {"/health": "warn"}),
        ({"has_quota": False}, {"quota": "fail"}),
        ({"report": well(quota=9, versions=None)}, {"/versions": "fail"}),
        ({"report": well(quota=9, versions={"builder": "x"})}, {"/versions": "fail"}),
        ({"build_origin": ""}, {"CORS": "fail"}),
        ({"build_answer": ""}, {"CORS": "fail"}),
        ({"archive": "no index"}, {"archive": "warn"}),
        ({"archive_age_days": None}, {"archive": "warn"}),
        ({"archive_age_days": 9.0}, {"archive": "warn"}),
    ],
)
def test_from_outside(change: dict[str, object], wrong: dict[str, str]) -> None:
    """What is missing from outside is found, and there is a mend for it."""
    seen = replace(GOOD, outside=replace(OUTSIDE, **change))  # type: ignore[arg-type] # names as in the class
    assert levels(seen) == wrong
    assert all(finding.mend for finding in evaluate(seen) if finding.level != "ok")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"launch_host": ""}, {"launch host": "fail"}),
        ({"public_url": ""}, {"public_url": "fail"}),
        ({"archive": False}, {"archive": "fail"}),
        ({"archive_origin": ""}, {"archive": "fail"}),
        ({"sponsor": ""}, {"sponsor": "warn"}),
    ],
)
def test_from_inside(change: dict[str, object], wrong: dict[str, str]) -> None:
    """What is missing in the settings is found."""
    assert levels(replace(GOOD, inside=replace(INSIDE, **change))) == wrong  # type: ignore[arg-type] # same


def test_tokens_and_versions() -> None:
    """The federation's own token is the best proof; without one the settings must do."""
    assert levels(replace(GOOD, token="Invalid build token.")) == {"build token": "fail"}
    assert levels(replace(GOOD, token=None)) == {"build token": "warn"}
    own = replace(INSIDE, secret_is_set=False)
    assert levels(replace(GOOD, token=None, inside=own)) == {"build token": "fail"}
    assert levels(replace(GOOD, expected=None)) == {"/versions": "warn"}


def test_another_machine() -> None:
    """Of another machine only the outside is seen."""
    assert levels(replace(GOOD, inside=None)) == {"settings": "warn"}


def test_the_entry() -> None:
    """The entry is what both kinds of file need."""
    assert entry(GOOD, 10, as_json=False) == '[members."m"]\nurl = "https://m.test"\nweight = 10'
    assert json.loads(entry(GOOD, 10, as_json=True))["m"]["health"] == "https://m.test/health"
    assert default_name("https://2i2c.mybinder.org") == "2i2c"
    assert default_name("") == "member"
