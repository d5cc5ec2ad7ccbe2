"""``binderlet k3s``: K3s on a bare machine with settings that suit sessions, and a look at any cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from binderlet.cli.k3s_chart import BuilderImage, image, manifests, values
from binderlet.cli.options import ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.config.schema import Settings
    from binderlet.deploy.k3s import File, Join, Role

SECRET = re.compile(r"^( *(?:token|password|BINDERLET_[A-Z0-9_]+):).*")

app = typer.Typer(name="k3s", help="Set up K3s, and check a cluster.", no_args_is_help=True)
app.command("image")(image)
app.command("values")(values)
app.command("manifests")(manifests)

From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FOLDER",
        file_okay=False,
        exists=True,
        help="Take all from here and nothing from the internet; 'binderlet k3s files' says what the folder has.",
    ),
]
Version = Annotated[str, typer.Option(help="Release of K3s, such as v1.33.4+k3s1. Empty: the newest of the channel.")]
Channel = Annotated[
    str,
    typer.Option(
        help="What is installed and followed: stable, latest, or a line such as v1.33. Empty: the stable release, and "
        "then the mends of its line."
    ),
]
Upgrades = Annotated[
    bool, typer.Option("--upgrades/--no-upgrades", help="Follow K3s's releases by a timer, once a week.")
]
Archive = Annotated[
    Path | None,
    typer.Option(
        "--image", metavar="FILE", exists=True, help="Image of binderlet, from 'binderlet k3s image', to run it there."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and do nothing.")]
Root = Annotated[Path, typer.Option(hidden=True, help="Folder instead of /.")]


@app.command("install")
def install(
    *,
    folder: From = None,
    version: Version = "",
    channel: Channel = "",
    upgrades: Upgrades = True,
    image: Archive = None,
    builder_image: BuilderImage = "",
    dry_run: DryRun = False,
    root: Root = Path("/"),
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make this machine the server of a K3s for sessions; safe to run again at any time.

    Writes K3s's settings and what the cluster is prepared with, then runs K3s's own installer. With --image binderlet
    itself runs in the cluster, too, by its chart with these settings.
    """
    from binderlet.cli.k3s_chart import prepare_chart
    from binderlet.deploy.k3s import our_settings

    source = Source(folder, version, channel, upgrades)
    settings = read_settings(config, keys).settings
    chart = prepare_chart(settings, image, root, builder_image=builder_image, dry_run=dry_run) if image else ""
    _set_up(settings, None, source, root, dry_run=dry_run, chart=chart)
    if chart:
        typer.echo("Then: k3s kubectl -n binder get pods")
        return
    typer.echo(f"Settings for binderlet.toml:\n\n{our_settings()}")
    if not dry_run:
        typer.echo("Then: binderlet k3s check")


@app.command("join")
def join(
    server: Annotated[str, typer.Argument(help="The server's address: https://ADDRESS:6443.")],
    *,
    token_file: Annotated[
        Path,
        typer.Option(help="File with the server's token: its /var/lib/rancher/k3s/server/node-token.", exists=True),
    ],
    folder: From = None,
    version: Version = "",
    channel: Channel = "",
    upgrades: Upgrades = True,
    dry_run: DryRun = False,
    root: Root = Path("/"),
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Add this machine to a K3s; safe to run again at any time."""
    from binderlet.deploy.k3s import Join

    joined = Join(server, token_file.read_text(encoding="utf-8").strip())
    source = Source(folder, version, channel, upgrades)
    _set_up(read_settings(config, keys).settings, joined, source, root, dry_run=dry_run)


@app.command("upgrade")
def upgrade(*, folder: From = None, channel: Channel = "", root: Root = Path("/")) -> None:
    """Bring this node's K3s to the newest release of its line; sessions go on. The timer does this once a week.

    Where the new one does not start, the one from before runs again.
    """
    from binderlet.deploy.k3s_upgrade import installed_role
    from binderlet.deploy.k3s_upgrade import upgrade as bring_up

    bring_up(installed_role(root), typer.echo, channel=channel, folder=folder, root=root)


@app.command("files")
def files() -> None:
    """List what a machine without internet needs before K3s is set up on it."""
    from binderlet.deploy.k3s import AIR_GAP

    typer.echo("A folder with these files, for --from:")
    for name, (target, what) in AIR_GAP.items():
        typer.echo(f"  {name}: {what}{f'; it goes to {target}' if target else ''}")


@app.command("check")
def check(*, root: Root = Path("/"), config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Look whether sessions can run in the cluster of these settings; changes nothing. Works with any Kubernetes."""
    from binderlet.cli.doctor import print_finding
    from binderlet.clients.memory import read_hardware
    from binderlet.deploy.cluster_check import look_at_cluster
    from binderlet.deploy.k3s import look_at_node

    settings = read_settings(config, keys).settings
    found = [*look_at_node(settings, read_hardware().memory, root), *look_at_cluster(settings)]
    for finding in found:
        print_finding(finding)
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(1)


class Source(NamedTuple):
    """Where K3s comes from, and whether it follows what comes there."""

    folder: Path | None
    version: str
    channel: str
    upgrades: bool


def _set_up(
    settings: Settings, joined: Join | None, source: Source, root: Path, *, dry_run: bool, chart: str = ""
) -> None:
    from binderlet.clients.memory import read_hardware
    from binderlet.deploy import k3s, k3s_upgrade

    role: Role = "server" if joined is None else "agent"
    wanted = k3s.files(settings, read_hardware().memory, joined, chart=chart)
    if source.upgrades:
        wanted += k3s_upgrade.units(role, channel=source.channel, folder=source.folder)
    changed = k3s.changed(wanted, root)
    for file in changed:
        typer.echo(f"{'would write' if dry_run else 'writing'} {file.path}")
        if dry_run:
            typer.echo(_shown(file))
    if dry_run:
        return
    k3s_upgrade.set_up(role, changed, version=source.version, channel=source.channel, folder=source.folder, root=root)
    k3s_upgrade.follow(source.upgrades, root)


def _shown(file: File) -> str:
    """Give a file's text for a terminal: without secrets, and long ones cut."""
    lines = [SECRET.sub(r"\1 ...", line) for line in file.text.splitlines()]
    more = [f"... {len(lines) - 20} more lines"] if len(lines) > 20 else []  # noqa: PLR2004 - what one can take in
    return "\n".join(f"    {line}" for line in [*lines[:20], *more])
