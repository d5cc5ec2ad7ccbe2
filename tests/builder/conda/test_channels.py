"""Where channels are."""

from __future__ import annotations

import pytest

from binderlet.builder.conda.channels import ALIAS, Channel, is_usable, locate, place, public, resolve
from binderlet.errors import BadRepository

MIRROR = "https://user:word@mirror.test/conda"


@pytest.mark.parametrize(
    ("named", "mirror", "urls"),
    [
        ([], "", [f"{ALIAS}/conda-forge"]),
        (["bioconda", "conda-forge"], "", [f"{ALIAS}/bioconda", f"{ALIAS}/conda-forge"]),
        (["nodefaults"], "", [f"{ALIAS}/conda-forge"]),
        (["a", "nodefaults", "a"], "", [f"{ALIAS}/a"]),
        (["defaults"], "", [f"{ALIAS}/main", f"{ALIAS}/r"]),
        (["a/label/dev"], MIRROR, [f"{MIRROR}/a/label/dev"]),
        ([f"{ALIAS}/a/"], MIRROR, [f"{MIRROR}/a"]),
        (["https://other.test/c"], MIRROR, ["https://other.test/c"]),
        ([f"{MIRROR}/b"], MIRROR, [f"{MIRROR}/b"]),
    ],
)
def test_resolve(named: list[str], mirror: str, urls: list[str]) -> None:
    """Names go behind the mirror, addresses stay as they are."""
    assert [channel.url for channel in resolve(named, ["conda-forge"], mirror)] == urls


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/c", "http://localhost/c", "http://10.0.0.3/c", "http://[::1]/c", "http://nexus/c"]
)
def test_own_network(url: str) -> None:
    """A repository may not make this machine ask its neighbours; the operator may."""
    with pytest.raises(BadRepository, match="own network"):
        resolve([url], [], "")
    assert resolve([url], [url], "") == [Channel(url, url)]
    assert resolve([], [url], "") == [Channel(url, url)]
    assert resolve([f"{url}/x"], [], url) == [Channel(f"{url}/x", f"{url}/x")]


def test_place() -> None:
    """A spec that names its channel gets the address of it."""
    assert place("numpy=1", MIRROR) == ("numpy=1", [])
    spec, added = place("bioconda::star =2", MIRROR)
    assert spec == f"{MIRROR}/bioconda::star =2"
    assert added == [Channel("bioconda", f"{MIRROR}/bioconda")]


def test_secrets_are_masked() -> None:
    """Neither password nor token of an address is shown."""
    shown = public("https://user:word@x.test/t/abc-123/channel")
    assert "word" not in shown
    assert "abc-123" not in shown
    assert shown.endswith("/channel")
    assert public(resolve([f"{MIRROR}/b"], [], MIRROR)[0].name) == resolve([f"{MIRROR}/b"], [], MIRROR)[0].name


@pytest.mark.parametrize(("name", "usable"), [("a", True), ("https://x.test/a", True), ("/a", False), ("a b", False)])
def test_usable(name: str, *, usable: bool) -> None:
    """Names and web addresses can be used, folders not."""
    assert is_usable(name) is usable


@pytest.mark.parametrize(
    ("url", "ours", "mirror", "found"),
    [
        ("https://a.test/c/x.conda", (), "", "https://a.test/c/x.conda"),
        ("http://10.0.0.1/c/x.conda", (), "http://u:p@10.0.0.1/c/", "http://u:p@10.0.0.1/c/x.conda"),
        ("http://10.0.0.1/c/x.conda", ("http://10.0.0.1/t/k/c",), "", "http://10.0.0.1/t/k/c/x.conda"),
        ("http://10.0.0.1/c/x.conda", ("main", "http://10.0.0.1/t/k/"), "", "http://10.0.0.1/t/k/c/x.conda"),
        ("http://10.0.0.1/c/x.conda", ("http://v:w@10.0.0.1",), "", "http://v:w@10.0.0.1/c/x.conda"),
        ("https://conda.anaconda.org/f/x.conda", (), "http://10.0.0.1", "http://10.0.0.1/f/x.conda"),
        ("http://localhost/x.conda", (), "", None),
    ],
)
def test_locate(url: str, ours: tuple[str, ...], mirror: str, found: str | None) -> None:
    """An address on a mirror or channel of the operator's gets its password; no other may be private."""
    if found is None:
        with pytest.raises(BadRepository):
            locate(url, ours, mirror)
    else:
        assert locate(url, ours, mirror) == found
