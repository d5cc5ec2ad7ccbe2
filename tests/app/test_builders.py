"""The parts of a service whose images are built in the cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from binderlet.app.builders import cluster_machinery, shelf, with_registry
from binderlet.app.kubernetes import adapted, kubernetes_machinery
from binderlet.builder.cluster.builder import ClusterBuilder
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.fake import FakeEngine
from binderlet.errors import ConfigError
from binderlet.images.remote import RemoteImages
from binderlet.images.shelf import Shelf
from support.kube_api import kube_api


def settings(prefix: str = "", url: str = "", **sections: object) -> Settings:
    """Give settings with names and a registry."""
    chosen: dict[str, object] = {"engine": {"kind": "kubernetes"}, "builder_pods": {"namespace": "builds"}, **sections}
    return Settings.model_validate(
        {
            **chosen,
            "builder": {"image_prefix": prefix} if prefix else {},
            "registry": {"url": url, "username": "user", "password": "secret"},
        }
    )


@pytest.mark.parametrize(
    ("prefix", "url", "name", "expected"),
    [
        (
            "",
            "https://r.example/binder/",
            "r.example/binder/binderlet/i-",
            Shelf("r.example", "r.example", "binder/binderlet/", "user", "secret"),
        ),
        (
            "r.example/binder/i-",
            "",
            "r.example/binder/i-",
            Shelf("r.example", "r.example", "binder/", "user", "secret"),
        ),
        (
            "localhost:5000/binder/i-",
            "http://registry.svc:5000/",
            "localhost:5000/binder/i-",
            Shelf("registry.svc:5000", "localhost:5000", "binder/", "user", "secret", is_plain=True),
        ),
        ("localhost/i-", "", "localhost/i-", Shelf("localhost", "localhost", "", "user", "secret")),
    ],
)
def test_names(prefix: str, url: str, name: str, expected: Shelf) -> None:
    """Names begin with what nodes call the registry; images are pushed to where registry.url says."""
    chosen = settings(prefix, url)
    assert with_registry(chosen).builder.image_prefix == name
    assert adapted(chosen).builder.image_prefix == name
    assert shelf(chosen) == expected


def test_no_registry() -> None:
    """Without one nothing starts."""
    with pytest.raises(ConfigError, match="names no registry"):
        shelf(settings())


async def test_machinery(tmp_path: Path) -> None:
    """No container engine is asked for: the builder is the cluster's, and images are the registry's."""
    async with kube_api() as api:
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "namespace": "binder"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}],
        }
        path = tmp_path / "kubeconfig"
        await asyncio.to_thread(path.write_text, yaml.safe_dump(content))
        chosen = adapted(settings("r.example/i-", kubernetes={"kubeconfig": str(path)}))
        machinery = await kubernetes_machinery(chosen, NetworkEnvironment(), tmp_path)
        assert isinstance(machinery.builder, ClusterBuilder)
        assert isinstance(machinery.images, RemoteImages)
        assert machinery.description.endswith("builds in builds")
        await machinery.close()
        await machinery.engine.close()
        other = await cluster_machinery(chosen, NetworkEnvironment(), FakeEngine(), "there")
        assert other.description == "there, builds in builds"
        await other.close()
