"""The table of prices."""

from __future__ import annotations

import pytest

from binderlet.errors import BadPrices
from binderlet.planner.prices import BUILT_IN, read_prices, sources

TABLE = """
[currencies]
USD = 1.0
EUR = 1.25
source = "a bank"
date = "2027-01-01"
[[machines]]
provider = "A"
name = "big"
cores = 4
memory = 16
price = 100
currency = "EUR"
source = "a page"
date = "2027-01-01"
[[providers]]
name = "A"
kubernetes = 0.1
disk = 0.5
traffic = 0.25
currency = "USD"
source = "a page"
date = "2027-01-01"
"""


def test_figures_are_changed_into_one_currency() -> None:
    """All prices are in the currency that was asked for."""
    dollars, euros = read_prices(TABLE, "USD"), read_prices(TABLE, "EUR")
    assert dollars.machines[0].price == 125
    assert euros.machines[0].price == 100
    assert euros.provider("A").kubernetes == pytest.approx(0.08)
    assert (euros.machines[0].disk, euros.machines[0].label) == (0, "A big")
    assert euros.provider("nobody").kubernetes is None
    assert sources(euros.machines) == ["a page, 2027-01-01"]


def test_the_table_that_is_shipped() -> None:
    """It has the four machines of about 190 GB with their figures, and a source and a day for each entry."""
    prices = read_prices(BUILT_IN.read_text("utf-8"), "USD")
    big = {one.provider: one.price for one in prices.machines if one.memory == 192}
    assert big == {"Hetzner": 300, "Azure": 1300, "Google": 1500, "AWS": 1600}
    assert all(one.source and one.date for one in prices.machines)
    assert all(one.source and one.date for one in prices.providers.values())
    assert prices.provider("Hetzner").kubernetes is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not TOML"),
        ("", "currencies"),
        (TABLE.replace('currency = "EUR"', 'currency = "XXX"'), "XXX"),
        (TABLE.replace('source = "a page"', ""), "source"),
        (TABLE.replace("cores = 4", 'cores = "many"'), "many"),
        ("machines = 5\n[currencies]\nEUR = 1", "int"),
        ("currencies = 5", "int"),
    ],
)
def test_a_table_that_is_wrong(text: str, said: str) -> None:
    """The error says what is missing or wrong."""
    with pytest.raises(BadPrices, match=said):
        read_prices(text, "EUR")


def test_an_unknown_currency() -> None:
    """The error names those that are known."""
    with pytest.raises(BadPrices, match="EUR, USD"):
        read_prices(TABLE, "GBP")
