"""What does the work where images are built inside the cluster: builder pods and a registry, no engine here."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

from binderlet.app.machinery import Machinery
from binderlet.builder.cluster.builder import ClusterBuilder
from binderlet.builder.cluster.messages import Order
from binderlet.builder.cluster.worker import extra_certificates
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.engine.base import Engine
from binderlet.images.courier import client_of
from binderlet.images.reach import check_reach
from binderlet.images.remote import RemoteImages
from binderlet.images.shelf import Shelf, host_of, placed


def with_registry(settings: Settings) -> Settings:
    """Give the settings with the registry's host and folder before image names that have none.

    Raises:
        ConfigError: no registry is known that nodes reach.
    """
    check_reach(settings)
    prefix, url = settings.builder.image_prefix, settings.registry.url
    builder = settings.builder.model_copy(update={"image_prefix": placed(url, prefix)})
    return settings.model_copy(update={"builder": builder})


def shelf(settings: Settings) -> Shelf:
    """Give the registry: where pods reach it, which registry.url says, and what nodes call it, which names begin with.

    Raises:
        ConfigError: none is known.
    """
    prefix, own = with_registry(settings).builder.image_prefix, settings.registry
    url, folder = urlsplit(own.url), prefix.partition("/")[2].rpartition("/")[0]
    return Shelf(
        host=url.netloc or host_of(prefix),
        known_as=host_of(prefix),
        folder=f"{folder}/" if folder else "",
        username=own.username,
        password=own.password.get_secret_value(),
        is_plain=url.scheme == "http",
    )


async def cluster_machinery(settings: Settings, network: NetworkEnvironment, engine: Engine, where: str) -> Machinery:
    """Put together what builds in the cluster; ``engine`` runs there, too.

    Raises:
        ConfigError: no cluster is known.
    """
    place = shelf(settings)
    access = await asyncio.to_thread(find_access, settings.kubernetes)
    order = Order("build", settings.builder, network, await asyncio.to_thread(extra_certificates, network), place)
    images = RemoteImages(client_of(place, network.ca_bundle))
    client = KubernetesClient(replace(access, namespace=settings.builder_pods.namespace))
    builder = ClusterBuilder(client, settings.builder_pods, order, images, settings.server.instance)

    async def close() -> None:
        await builder.close()
        await images.close()

    return Machinery(engine, images, builder, f"{where}, builds in {settings.builder_pods.namespace}", close)
