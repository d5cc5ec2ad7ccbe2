"""The table of prices: TOML in, values in one currency out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binderlet.errors import BadPrices

BUILT_IN = Path(__file__).with_name("prices.toml")
HOURS = 365.25 * 24 / 12
"""Hours of a month."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine by the month."""

    provider: str
    name: str
    cores: int
    memory: float
    """GB."""
    disk: float
    """GB that come with it."""
    traffic: float
    """TB a month that come with it."""
    price: float
    source: str
    date: str

    @property
    def label(self) -> str:
        """Provider and name."""
        return f"{self.provider} {self.name}"


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider takes beside the machines."""

    name: str
    kubernetes: float | None
    """Fee of a managed cluster by the hour; None where there is none to be had."""
    disk: float
    """A GB for a month."""
    traffic: float
    """A GB to visitors."""
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Prices:
    """All prices, in ``currency``."""

    currency: str
    machines: tuple[Machine, ...]
    providers: Mapping[str, Provider]

    def provider(self, name: str) -> Provider:
        """Give what a provider takes; nothing more than its machines where that is not known."""
        return self.providers.get(name, Provider(name, None, 0.0, 0.0, "", ""))


def read_prices(text: str, currency: str, where: str = "prices.toml") -> Prices:
    """Read a table, and change its figures into one currency.

    Raises:
        BadPrices: it is not of the form, names an unknown currency, or leaves out a source.
    """
    try:
        table = tomllib.loads(text)
        rates = {name: float(rate) for name, rate in table["currencies"].items() if name not in {"source", "date"}}
        if currency not in rates:
            raise BadPrices(f"{where} has no rate for {currency!r}, but for {', '.join(sorted(rates))}.")
        factors = {name: rate / rates[currency] for name, rate in rates.items()}
        machines = tuple(_machine(entry, factors) for entry in table["machines"])
        providers = [_provider(entry, factors) for entry in table.get("providers", [])]
    except tomllib.TOMLDecodeError as error:
        raise BadPrices(f"{where} is not TOML: {error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadPrices(f"{where}: {type(error).__name__} {error}; an entry lacks it, or has it wrong.") from error
    return Prices(currency, machines, {provider.name: provider for provider in providers})


def _machine(entry: Mapping[str, Any], factors: Mapping[str, float]) -> Machine:
    return Machine(
        provider=str(entry["provider"]),
        name=str(entry["name"]),
        cores=int(entry["cores"]),
        memory=float(entry["memory"]),
        disk=float(entry.get("disk", 0)),
        traffic=float(entry.get("traffic", 0)),
        price=float(entry["price"]) * factors[entry["currency"]],
        source=str(entry["source"]),
        date=str(entry["date"]),
    )


def _provider(entry: Mapping[str, Any], factors: Mapping[str, float]) -> Provider:
    factor = factors[entry["currency"]]
    return Provider(
        name=str(entry["name"]),
        kubernetes=float(entry["kubernetes"]) * factor if "kubernetes" in entry else None,
        disk=float(entry["disk"]) * factor,
        traffic=float(entry["traffic"]) * factor,
        source=str(entry["source"]),
        date=str(entry["date"]),
    )


def sources(machines: Sequence[Machine]) -> list[str]:
    """List where figures are from, each once."""
    return sorted({f"{machine.source}, {machine.date}" for machine in machines})
