"""Whether nodes of a cluster can fetch what is built."""

from __future__ import annotations

from typing import Any

import pytest

from binderlet.config import Settings
from binderlet.errors import ConfigError
from binderlet.images.reach import check_bucket, check_reach

S3 = {"endpoint": "https://s3.example.org", "bucket": "b", "access_key": "a", "secret_key": "s"}
URL = {"url": "https://registry.example.org/binder/"}
PODS = {"namespace": "builds"}


def settings(prefix: str = "binderlet/i-", **sections: dict[str, Any]) -> Settings:
    """Give settings of a service in a cluster."""
    return Settings.model_validate({"engine": {"kind": "kubernetes"}, "builder": {"image_prefix": prefix}, **sections})


@pytest.mark.parametrize(
    "reached",
    [
        settings("registry.example.org/binder/i-"),
        settings("localhost/i-"),
        settings("registry:5000/i-"),
        settings(registry=URL),
        settings(registry=URL, builder_pods=PODS),
        settings("localhost:5000/i-", builder_pods=PODS),
        settings(kubernetes={"delivery": "import"}),
        settings(kubernetes={"delivery": "import"}, registry={"s3": S3}),
        settings("registry.example.org/i-", registry={"s3": S3}),
    ],
)
def test_reached(reached: Settings) -> None:
    """A registry in the image's name or in registry.url is a way, and so is an import; a bucket may be beside it."""
    check_reach(reached)


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        (settings(), "names no registry"),
        (settings("i-", builder_pods=PODS), "names no registry"),
        (settings(kubernetes={"delivery": "import"}, builder_pods=PODS), "names no registry"),
        (settings(registry={"s3": S3}), "in front of a bucket"),
        (settings(registry={"s3": S3}, builder_pods=PODS), "in front of a bucket"),
        (settings("registry.example.org/i-", registry={"s3": S3}, builder_pods=PODS), "in front of a bucket"),
    ],
)
def test_not_reached(lost: Settings, why: str) -> None:
    """Nothing starts, and it is said what to set."""
    with pytest.raises(ConfigError, match=why) as caught:
        check_reach(lost)
    assert "registry.url" in caught.value.hint
    assert ("import" in caught.value.hint) is (not lost.builder_pods.namespace and not lost.registry.s3.endpoint)


def test_bucket() -> None:
    """In a cluster a bucket alone is refused."""
    check_bucket(settings())
    with pytest.raises(ConfigError, match="no password"):
        check_bucket(settings(registry={"s3": S3}))
