"""The layers of an image by the names under which the engine keeps them once, with their sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from binderlet.clients.helper import HelperRefused, ask
from binderlet.images.retention import Part

SizeOf = Callable[[str], int | None]
"""Gives a chain's own bytes, by its id; None where that cannot be known."""


def chain_ids(layers: Sequence[str]) -> list[str]:
    """Give the id of each layer together with all below it, which is how the engine keeps and shares them."""
    chain: list[str] = []
    for layer in layers:
        below = chain[-1] if chain else ""
        chain.append(f"sha256:{hashlib.sha256(f'{below} {layer}'.encode()).hexdigest()}" if below else layer)
    return chain


def layer_sizes(root: Path, driver: str) -> SizeOf:
    """Give a look-up in the engine's own files below ``root``, where this process may read them."""
    folder = root / "image" / driver / "layerdb" / "sha256"

    def size_of(chain_id: str) -> int | None:
        try:
            return int((folder / chain_id.removeprefix("sha256:") / "size").read_text())
        except (OSError, ValueError):
            return None

    return size_of


def asked_sizes(helper: str, driver: str) -> SizeOf:
    """Give a look-up by the root helper, which remembers: a layer never changes."""
    known: dict[str, int] = {}

    def size_of(chain_id: str) -> int | None:
        if chain_id not in known:
            try:
                answer = ask(helper, "layer-size", driver=driver, chain=chain_id.removeprefix("sha256:"))
                known[chain_id] = int(answer["size"])
            except (HelperRefused, KeyError, TypeError):
                return None
        return known[chain_id]

    return size_of


def parts_of(images: Mapping[str, tuple[Sequence[str], int]], size_of: SizeOf) -> dict[str, tuple[Part, ...]]:
    """Give the parts of each image, by its id, from its layers and its whole size.

    Where the engine's files cannot be read, sizes are known only where an image ends: what lies between two of them
    counts as one part, so that what several images share beyond a whole image is taken for each one's own.
    """
    chains = {image: chain_ids(layers) for image, (layers, _) in images.items()}
    ends: dict[str, int] = {}
    for image, chain in chains.items():
        if chain:
            ends[chain[-1]] = images[image][1]
    return {image: _parts(chain, images[image][1], ends, size_of) for image, chain in chains.items()}


def _parts(chain: Sequence[str], whole: int, ends: Mapping[str, int], size_of: SizeOf) -> tuple[Part, ...]:
    exact = [(link, size_of(link)) for link in chain]
    if chain and all(size is not None for _, size in exact):
        return tuple(Part(link, size or 0) for link, size in exact)
    parts: list[Part] = []
    counted = 0
    for link in chain:
        if link in ends and ends[link] >= counted:
            parts.append(Part(link, ends[link] - counted))
            counted = ends[link]
    return tuple(parts) or (Part(f"whole {chain}", whole),)
