"""``binderlet images``: what is kept on the disk, why, and what would go next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

app = typer.Typer(name="images", help="List, explain, pin and remove what is kept on the disk.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="An image, a repository's address, or an owner such as github.com/jupyter.")]
IMAGES = {"image", "environment", "base"}


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also caches, logs and copies of repositories.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """List the images that are kept, first what would go first."""
    rows = [row for row in _ask(config, keys, "GET", "/images") if everything or row["kind"] in IMAGES]
    if as_json:
        _print_json(rows)
    elif rows:
        print_table(rows)
    else:
        typer.echo("Nothing is kept.")


@app.command("why")
def why(name: Name, *, as_json: AsJson = False, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Say why an image stays or would go, and what it is worth."""
    rows = _ask(config, keys, "GET", f"/images/why?{_query(name=name)}")
    if as_json:
        _print_json(rows)
    else:
        typer.echo("\n\n".join(explain(row) for row in rows))


@app.command("pin")
def pin(
    name: Annotated[str, typer.Argument(help="As for 'why'.", show_default=False)] = "",
    *,
    listing: Annotated[bool, typer.Option("--list", help="List the pins.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Keep an image, or all images of a repository or owner, however full the disk is."""
    if not name and not listing:
        raise typer.BadParameter("give what to pin, or --list")
    path = "/images/pins" if listing else f"/images/pins?{_query(name=name)}"
    pins = _ask(config, keys, "GET" if listing else "POST", path)
    if as_json:
        _print_json(pins)
    elif pins:
        typer.echo("\n".join(f"{pin['name']}{' (disk.pins)' if pin['fixed'] else ''}" for pin in pins))
    else:
        typer.echo("Nothing is pinned.")


@app.command("unpin")
def unpin(name: Name, *, as_json: AsJson = False, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Let what was pinned go again when the disk is tight."""
    _ask(config, keys, "DELETE", f"/images/pins?{_query(name=name)}")
    if as_json:
        _print_json({"unpinned": name})
    else:
        typer.echo(f"{name} is no longer pinned.")


@app.command("prune")
def prune(
    *,
    free: Annotated[
        str, typer.Option("--free", metavar="SIZE", help="How much to free, such as 10G. Default: as the settings say.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Remove what is worth least now, without waiting for the disk to become tight."""
    query = _query(bytes=size(free), dry_run=int(dry_run))
    steps = _ask(config, keys, "POST", f"/images/prune?{query}")
    if as_json:
        _print_json(steps)
        return
    for step in steps:
        typer.echo(f"{'Would remove' if dry_run else 'Removed'} {', '.join(step['names'])}: {step['why']}")
    total = bytes_text(sum(step["frees"] for step in steps))
    says = "would be freed" if dry_run else "freed"
    typer.echo(f"{total} {says}." if steps else "There is nothing to remove.")


def size(text: str) -> int:
    """Read a size such as 10G; 0 where none is given."""
    from binderlet.config.units import parse_bytes

    try:
        found = parse_bytes(text or 0)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return int(str(found))


def bytes_text(size: float) -> str:
    """Write bytes for people: 1.5 GB."""
    for unit, factor in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"


def explain(row: Mapping[str, Any]) -> str:
    """Say all there is to know of one item."""
    from binderlet.cli.sessions import ago

    fate = f"It stays: {row['keep']}." if row["keep"] else f"It may go: number {row['rank']} when room is needed."
    if not row["keep"] and row["rank"] is None:
        fate = "It stays, as removing it frees nothing: all it is made of is needed by others."
    lines = [
        f"{row['name']} ({row['kind']})",
        fate,
        f"Size {bytes_text(row['size'])}, of which {bytes_text(row['own'])} no other shares.",
        f"Launched {row['launches']} times, which count as {row['popularity']:.2f} today.",
        f"Last used {ago(row['idle_seconds'])} ago.",
        f"Having it again takes about {row['cost_seconds']:.0f} s.",
    ]
    if row["repository"]:
        lines.insert(1, f"Repository: {row['repository']}")
    if row["owner_factor"] < 1:
        lines.append(f"{row['owner']} has more than its share, so it counts {row['owner_factor']:.2f} of that.")
    return "\n".join(lines)


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each item; rows are never cut where the output is no terminal."""
    import sys

    from rich.console import Console
    from rich.table import Table

    from binderlet.cli.sessions import WIDE, ago

    is_terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("GOES", "KIND", "SIZE", "OWN", "LAUNCHES", "IDLE", "NAME", "STAYS BECAUSE"):
        least = {"NAME": 24, "STAYS BECAUSE": 8}.get(title, 6) if is_terminal else None
        table.add_column(title, no_wrap=True, overflow="ellipsis" if is_terminal else "ignore", min_width=least)
    for row in rows:
        table.add_row(
            str(row["rank"] or "-"),
            row["kind"],
            bytes_text(row["size"]),
            bytes_text(row["own"]),
            str(row["launches"]),
            ago(row["idle_seconds"]),
            row["name"],
            row["keep"],
        )
    Console(width=None if is_terminal else WIDE, soft_wrap=not is_terminal, markup=False).print(table)


def _ask(config: Any, keys: Any, method: str, path: str) -> Any:  # noqa: ANN401 - what Typer gives, and JSON
    from binderlet.cli.ask import ask

    return ask(read_settings(config, keys).settings, method, path)


def _query(**values: object) -> str:
    from urllib.parse import urlencode

    return urlencode(values)


def _print_json(body: object) -> None:
    import json

    typer.echo(json.dumps(body, indent=2))
