"""Which packages an environment gets, and from where, as it was found out before its build (pure).

uv says it as a ``pylock.toml``. What a build step is given of it is JSON, which every Python can read.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 400_000
"""Bytes of the text for a build step, which is a secret: the engine takes half a megabyte."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The packages of one environment."""

    packages: tuple[Mapping[str, Any], ...]
    """As in a ``pylock.toml``: ``name``, ``version`` and ``wheels``, of which only those that fit."""
    index: str = ""
    """The one index that all of them come from; empty where a build step must resolve again."""

    @property
    def pins(self) -> frozenset[str]:
        """All packages as ``name==version``."""
        return frozenset(f"{package['name']}=={package['version']}" for package in self.packages)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The bytes of each package's largest wheel by its pin, 0 where the index does not tell."""
        return {f"{each['name']}=={each['version']}": _size(each.get("wheels", ())) for each in self.packages}

    @property
    def instructions(self) -> str:
        """What ``install_program`` reads; empty where it must not be used."""
        if not self.index or not all(_is_plain(package) for package in self.packages):
            return ""
        packages = [
            {
                "name": package["name"],
                "version": package["version"],
                "size": _size(package["wheels"]),
                "wheels": [{"url": wheel["url"], "sha256": wheel["hashes"]["sha256"]} for wheel in package["wheels"]],
            }
            for package in self.packages
        ]
        text = json.dumps({"index": self.index, "packages": packages})
        return text if len(text) <= LARGEST else ""


def read(text: str) -> Resolution:
    """Read a ``pylock.toml`` that uv has written; packages without a version are left out."""
    return Resolution(tuple(each for each in tomllib.loads(text).get("packages", ()) if "version" in each))


def preferences(pins: Iterable[str]) -> str:
    """Write a ``pylock.toml`` to whose versions uv keeps as long as they fit; ``pins`` are ``name==version``."""
    lines = ['lock-version = "1.0"', 'created-by = "binderlet"']
    for name, _, version in (pin.partition("==") for pin in pins):
        lines += ["[[packages]]", f"name = {json.dumps(name)}", f"version = {json.dumps(version)}"]
    return "\n".join(lines) + "\n"


def _is_plain(package: Mapping[str, Any]) -> bool:
    wheels = package.get("wheels", ())
    return bool(wheels) and all("url" in each and "sha256" in each.get("hashes", {}) for each in wheels)


def _size(wheels: Iterable[Mapping[str, Any]]) -> int:
    return max((int(wheel.get("size", 0)) for wheel in wheels), default=0)
