"""Whether nodes of a cluster can fetch what is built, as far as the settings say (pure)."""

from __future__ import annotations

from binderlet.config.schema import Settings
from binderlet.errors import ConfigError
from binderlet.images.shelf import host_of

EXAMPLE = 'Set registry.url to something like "https://registry.example.org/binder/"'


def check_reach(settings: Settings) -> None:
    """See that images have a way to the nodes.

    Raises:
        ConfigError: they have none, or settings name a registry that has none.
    """
    if settings.builder_pods.namespace:
        check_bucket(settings)
    prefix, is_pushed = settings.builder.image_prefix, settings.kubernetes.delivery == "push"
    if host_of(prefix) or settings.registry.url or not (is_pushed or settings.builder_pods.namespace):
        return
    check_bucket(settings)
    also = "." if settings.builder_pods.namespace else ', or kubernetes.delivery to "import".'
    raise ConfigError(
        f"builder.image_prefix: {prefix!r} names no registry, and registry.url is empty; nodes need one.",
        hint=f"{EXAMPLE}{also}",
    )


def check_bucket(settings: Settings) -> None:
    """See that no registry is wanted that only this machine would reach.

    Raises:
        ConfigError: it is.
    """
    if settings.registry.s3.endpoint:
        raise ConfigError(
            "registry.s3: neither nodes nor builder pods reach the registry that binderlet runs in front of a bucket: "
            "it has a socket of its own machine and no password.",
            hint="Run one that they reach in front of the same bucket, and set registry.url instead of registry.s3: "
            "'A registry on object storage' in docs/how-to/kubernetes.md.",
        )
