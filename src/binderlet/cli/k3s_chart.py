"""``binderlet k3s image`` and ``values``: what the Helm chart needs to run binderlet itself in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet import __version__
from binderlet.cli.options import ConfigFile, SetKeys, read_settings
from binderlet.errors import ConfigError

if TYPE_CHECKING:
    from binderlet.config.schema import Settings

IMAGE = f"binderlet:{__version__}"

BuilderImage = Annotated[
    str, typer.Option(help="Image of builder pods, from 'binderlet builder-image': images are built there then.")
]
Name = Annotated[str, typer.Option(help="Name of the image, with the registry's where it is pushed to one.")]


def values(
    *,
    image: Name = IMAGE,
    builder_image: BuilderImage = "",
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Print the chart's values for these settings, secrets included: 'helm upgrade --install ... --values FILE'."""
    from binderlet.deploy.cluster_values import as_yaml

    settings = read_settings(config, keys).settings
    typer.echo(as_yaml(_values(settings, image, token_secret(settings), builder_image)), nl=False)


def _values(settings: Settings, image: str, secret: str, builder_image: str) -> dict[str, Any]:
    from binderlet.deploy.cluster_values import values_of
    from binderlet.images.reach import check_bucket

    check_bucket(settings)
    if not builder_image:
        typer.echo("Nothing can be built without builder pods: see --builder-image.", err=True)
    return values_of(settings, image, secret, builder_image=builder_image, ca_bundle=certificates(settings))


def manifests(
    *,
    image: Name = IMAGE,
    builder_image: BuilderImage = "",
    more: Annotated[
        list[Path] | None,
        typer.Option("--values", metavar="FILE", exists=True, help="More of the chart's values; the last file counts."),
    ] = None,
    sessions_only: Annotated[
        bool, typer.Option("--sessions-only", help="binderlet itself runs outside of the cluster.")
    ] = False,
    namespace: Annotated[str, typer.Option(help="Where binderlet itself runs, or its account is.")] = "binder",
    kubernetes: Annotated[
        str, typer.Option(metavar="VERSION", help="The cluster's version, such as 1.33; 'kubectl version' says it.")
    ] = "",
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Print plain manifests for these settings, secrets included, for 'kubectl apply -f FILE'; needs no Helm.

    They are the chart's own templates, with the values that 'binderlet k3s values' prints.
    """
    from binderlet.deploy.k3s_chart import chart_folder
    from binderlet.deploy.plain_manifests import VERSION, read_values
    from binderlet.deploy.plain_manifests import manifests as rendered

    settings = read_settings(config, keys).settings
    secret = "" if sessions_only else token_secret(settings)
    given = [_values(settings, image, secret, builder_image), *map(read_values, more or [])]
    if sessions_only:
        given[0].pop("controlPlane")
    typer.echo(rendered(given, chart_folder(), namespace=namespace, version=kubernetes or VERSION), nl=False)


def certificates(settings: Settings) -> str:
    """Give what is in the file of ``network.ca_bundle``; empty where none is set.

    Raises:
        ConfigError: it cannot be read.
    """
    path = settings.network.ca_bundle
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except OSError as error:
        raise ConfigError(f"network.ca_bundle: {path} cannot be read: {error.strerror}.") from error


def token_secret(settings: Settings) -> str:
    """Give what build tokens are signed with: the setting's, or this machine's own, which is made once and kept."""
    from binderlet.app.front import keep_secret

    settings.paths.state.mkdir(parents=True, exist_ok=True)
    given = settings.security.build_token_secret.get_secret_value()
    return given or keep_secret(settings.paths.state / "build-token-secret")


def image(
    target: Annotated[Path, typer.Argument(help="Archive to write, for 'docker load' or 'k3s ctr images import'.")],
    *,
    name: Name = IMAGE,
    wheel: Annotated[Path | None, typer.Option(help="Release to put into it; else this one.", exists=True)] = None,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make a container image of binderlet itself, with HAProxy and git; needs root, mmdebstrap and some minutes."""
    import tempfile

    from binderlet.deploy.install.release import this_release
    from binderlet.deploy.own_image import make, network_of, sources_of

    settings = read_settings(config, keys).settings
    typer.echo(f"Making {name}, which takes some minutes.", err=True)
    with tempfile.TemporaryDirectory(prefix="binderlet-release-") as folder:
        release = this_release(Path(folder), wheel)
        found = make(release, network_of(settings), name, target, sources=sources_of(settings))
    typer.echo(f"{target}: {name} ({found[:19]})")


def prepare_chart(settings: Settings, archive: Path, root: Path, *, builder_image: str, dry_run: bool) -> str:
    """Lay the image where K3s takes it from, and give the manifests of the chart."""
    from binderlet.deploy import k3s_chart

    name = k3s_chart.image_in(archive)
    if dry_run:
        typer.echo(f"would write {k3s_chart.IMAGES / 'binderlet.tar'}: {name}")
    elif k3s_chart.place_image(archive, root):
        typer.echo(f"writing {k3s_chart.IMAGES / 'binderlet.tar'}: {name}")
    secret = "0" * 64 if dry_run else token_secret(settings)
    return k3s_chart.manifests(_values(settings, name, secret, builder_image), k3s_chart.chart_folder())
