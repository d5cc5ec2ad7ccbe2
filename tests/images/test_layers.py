"""Layers, the names under which the engine keeps them, and their sizes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from binderlet.clients.docker import open_docker
from binderlet.config.schema import EngineSettings
from binderlet.images.layers import asked_sizes, chain_ids, layer_sizes, parts_of
from binderlet.images.retention import Part
from support.engines import EngineApi, docker_socket, tiny_image
from support.root_helper import root_helper


def test_chains() -> None:
    """The first layer's chain is the layer; each other's is the hash of the chain below and itself."""
    one, two = chain_ids(["sha256:aa", "sha256:bb"])
    assert one == "sha256:aa"
    # printf 'sha256:aa sha256:bb' | sha256sum
    assert two == "sha256:b68ad689d6d1ec110ea1c13617437ad6f3766d4b3b309f6a603a222e07a0164f"
    assert chain_ids(["sha256:cc", "sha256:bb"])[1] != two
    assert chain_ids([]) == []


def test_sizes_from_the_engines_files(tmp_path: Path) -> None:
    """Each chain's own bytes are read from the engine's files; what is not there or makes no sense is not known."""
    folder = tmp_path / "image" / "overlay2" / "layerdb" / "sha256"
    for name, text in (("aa", "100"), ("bb", "nonsense")):
        (folder / name).mkdir(parents=True)
        (folder / name / "size").write_text(text)
    size_of = layer_sizes(tmp_path, "overlay2")
    assert [size_of(f"sha256:{name}") for name in ("aa", "bb", "cc")] == [100, None, None]


def test_parts_with_known_sizes() -> None:
    """Images that begin with the same layers share these parts."""
    chain = chain_ids(["l1", "l2"])
    parts = parts_of({"a": (["l1", "l2"], 30), "b": (["l1"], 10)}, {"l1": 10, chain[1]: 20}.get)
    assert parts == {"a": (Part("l1", 10), Part(chain[1], 20)), "b": (Part("l1", 10),)}


def test_parts_where_sizes_are_not_known() -> None:
    """Without the engine's files, parts end where images end: their whole sizes tell."""
    images = {
        "env": (["l1", "l2"], 100),
        "content": (["l1", "l2", "l3"], 110),
        "sibling": (["l1", "l2", "l4"], 105),
        "empty": ([], 7),
    }
    parts = parts_of(images, lambda _: None)
    assert [part.size for part in parts["env"]] == [100]
    assert [part.size for part in parts["content"]] == [100, 10]
    assert [part.size for part in parts["sibling"]] == [100, 5]
    assert parts["content"][0] == parts["sibling"][0] == parts["env"][0]
    assert [part.size for part in parts["empty"]] == [7]


@pytest.mark.docker
async def test_sizes_of_a_real_engine() -> None:
    """The parts of a real image add up to the size that the engine gives."""
    api = EngineApi(docker_socket())
    name = tiny_image(api)
    async with await open_docker(EngineSettings()) as client:
        found = await client.call("GET", f"images/{name}/json")
        info = await client.call("GET", "info")
    size_of = layer_sizes(Path(info["DockerRootDir"]), info["Driver"])
    images = {"tiny": (found["RootFS"]["Layers"], found["Size"])}
    (parts,) = (await asyncio.to_thread(parts_of, images, size_of)).values()
    assert sum(part.size for part in parts) == found["Size"]


def test_sizes_from_the_root_helper(tmp_path: Path) -> None:
    """Where only root may read the engine's files the helper is asked, once for each; without it none is known."""
    folder = tmp_path / "image" / "overlay2" / "layerdb" / "sha256" / ("a" * 64)
    folder.mkdir(parents=True)
    (folder / "size").write_text("100")
    (tmp_path / "daemon.json").write_text(f'{{"data-root": "{tmp_path}"}}')
    with root_helper(tmp_path) as path:
        size_of = asked_sizes(path, "overlay2")
        assert size_of(f"sha256:{'a' * 64}") == 100
        assert size_of(f"sha256:{'b' * 64}") is None
    assert size_of(f"sha256:{'a' * 64}") == 100
    assert size_of(f"sha256:{'c' * 64}") is None
