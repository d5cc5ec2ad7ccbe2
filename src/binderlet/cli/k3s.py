"""``binderlet k3s``: K3s on a bare machine with settings that suit sessions, and a look at any cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from binderlet.cli.options import ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.config.schema import Settings
    from binderlet.deploy.k3s import File, Join, Role

app = typer.Typer(name="k3s", help="Set up K3s for sessions, and check a cluster.", no_args_is_help=True)

Installer = Annotated[
    Path | None,
    typer.Option(
        help="K3s's installer, if it is here already: nothing is downloaded then, neither by it.", exists=True
    ),
]
Version = Annotated[str, typer.Option(help="Release of K3s, such as v1.33.4+k3s1. Empty: the stable one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and do nothing.")]
Root = Annotated[Path, typer.Option(hidden=True, help="Folder instead of /.")]


@app.command("install")
def install(
    *,
    installer: Installer = None,
    version: Version = "",
    dry_run: DryRun = False,
    root: Root = Path("/"),
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Make this machine the server of a K3s for sessions; safe to run again at any time.

    Writes K3s's settings and what the cluster is prepared with, then runs K3s's own installer.
    """
    from binderlet.deploy.k3s import our_settings

    source = Source(installer, version)
    _set_up(read_settings(config, keys).settings, None, source, root, dry_run=dry_run)
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
    installer: Installer = None,
    version: Version = "",
    dry_run: DryRun = False,
    root: Root = Path("/"),
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Add this machine to a K3s; safe to run again at any time."""
    from binderlet.deploy.k3s import Join

    joined = Join(server, token_file.read_text(encoding="utf-8").strip())
    _set_up(read_settings(config, keys).settings, joined, Source(installer, version), root, dry_run=dry_run)


@app.command("files")
def files() -> None:
    """List what a machine without internet needs before K3s is set up on it."""
    from binderlet.deploy.k3s import AIR_GAP

    for path, what in AIR_GAP:
        typer.echo(f"{path}: {what}")


@app.command("check")
def check(*, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Look whether sessions can run in the cluster of these settings; changes nothing. Works with any Kubernetes."""
    import asyncio

    if not asyncio.run(_check(read_settings(config, keys).settings)):
        raise typer.Exit(1)


async def _check(settings: Settings) -> bool:
    import asyncio

    from binderlet.clients.kubernetes import KubernetesClient
    from binderlet.clients.kubernetes_access import find_access
    from binderlet.deploy.cluster_check import check_cluster

    client = KubernetesClient(await asyncio.to_thread(find_access, settings.kubernetes))
    all_well = True
    try:
        async for found in check_cluster(client, settings):
            all_well = all_well and found.ok
            typer.echo(f"{'ok  ' if found.ok else 'FAIL'} {found.what}: {found.message}")
            if found.hint:
                typer.echo(f"     {found.hint}")
    finally:
        await client.close()
    return all_well


class Source(NamedTuple):
    """Where K3s comes from."""

    installer: Path | None
    version: str


def _set_up(settings: Settings, joined: Join | None, source: Source, root: Path, *, dry_run: bool) -> None:
    import tempfile

    from binderlet.clients.memory import read_hardware
    from binderlet.deploy import k3s

    role: Role = "server" if joined is None else "agent"
    wanted = k3s.changed(k3s.files(settings, read_hardware().memory, joined), root)
    for file in wanted:
        typer.echo(f"{'would write' if dry_run else 'writing'} {file.path}")
        if dry_run:
            typer.echo(_shown(file))
    if dry_run:
        return
    k3s.apply(wanted, root)
    if source.installer is not None:
        k3s.run_installer(source.installer, role, version=source.version, download=False)
        return
    with tempfile.TemporaryDirectory(prefix="binderlet-k3s-") as folder:
        target = Path(folder) / "install.sh"
        k3s.fetch_installer(target)
        k3s.run_installer(target, role, version=source.version)


def _shown(file: File) -> str:
    """Give a file's text for a terminal: without a token, and long ones cut."""
    lines = ["token: ..." if line.startswith("token:") else line for line in file.text.splitlines()]
    more = [f"... {len(lines) - 20} more lines"] if len(lines) > 20 else []  # noqa: PLR2004 - what one can take in
    return "\n".join(f"    {line}" for line in [*lines[:20], *more])
