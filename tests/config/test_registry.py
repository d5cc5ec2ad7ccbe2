"""Where images are kept beside this machine: what may be written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from binderlet.config.registry import PeerSettings, RegistrySettings, S3Settings

S3 = {"endpoint": "https://s3.example.org", "bucket": "b", "access_key": "a", "secret_key": "s"}


def test_off_unless_set() -> None:
    """There is no second tier unless one is set."""
    assert not RegistrySettings().is_on
    assert RegistrySettings.model_validate({"s3": S3}).is_on
    assert RegistrySettings(url="https://registry.example.org/binder").is_on


def test_only_one() -> None:
    """A bucket and a registry together are refused."""
    with pytest.raises(ValidationError, match="choose one"):
        RegistrySettings.model_validate({"s3": S3, "url": "https://registry.example.org/"})


def test_a_bucket_needs_all() -> None:
    """An endpoint without bucket or keys is refused, and what is missing is named; without endpoint nothing is."""
    with pytest.raises(ValidationError, match="bucket and secret_key not"):
        S3Settings(endpoint="https://s3.example.org", access_key="a")
    assert S3Settings(bucket="b").bucket == "b"


@pytest.mark.parametrize(("written", "read"), [("/a/b-c/", "a/b-c"), ("", ""), ("images", "images")])
def test_folder(written: str, read: str) -> None:
    """A folder loses the slashes around it."""
    assert S3Settings(folder=written).folder == read


@pytest.mark.parametrize("written", ["A b", "..", "a//b"])
def test_bad_folder(written: str) -> None:
    """What no repository's name may hold is refused."""
    with pytest.raises(ValidationError, match="is not a folder"):
        S3Settings(folder=written)


@pytest.mark.parametrize("prefix", ["registry.example.org/binder/r2d-", "http://127.0.0.1:5000/b-"])
def test_peers(prefix: str) -> None:
    """A peer is a host and the beginning of its images' names."""
    assert PeerSettings(prefix=prefix).prefix == prefix


@pytest.mark.parametrize("prefix", ["registry.example.org", "registry.example.org/", "ftp://x/y", "/a"])
def test_bad_peers(prefix: str) -> None:
    """What lacks one of them is refused."""
    with pytest.raises(ValidationError, match="is not an image prefix"):
        PeerSettings(prefix=prefix)
