"""``binderlet swap``: room for quiet sessions."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="swap",
    help="Set up swap, so that quiet sessions need no memory: zram first, then a file.",
    no_args_is_help=True,
)


@app.command("setup")
def setup(
    *,
    zram: Annotated[str | None, typer.Option(metavar="SIZE", help="Of compressed memory; 0 for none.")] = None,
    file: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the swap file; 0 for none.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Make zram of half of memory and a swap file of twice memory, as far as the fastest disk has room; needs root.

    It lasts until the machine restarts or 'binderlet swap off'; 'off' takes away exactly what was made.
    """
    import psutil

    from binderlet.deploy.swap import plan
    from binderlet.deploy.swap_setup import SwapSetup, disks

    machine = SwapSetup()
    wanted = plan(psutil.virtual_memory().total, disks(), has_zram=machine.has_zram(), zram=size(zram), file=size(file))
    if not dry_run:
        machine.setup(wanted)
    made = "Would make" if dry_run else "Made"
    typer.echo(
        f"{made} zram of {human(wanted.zram)} and "
        + (f"{wanted.path} of {human(wanted.file)}." if wanted.file else "no file.")
    )


@app.command("status")
def status() -> None:
    """Show the swap of this machine."""
    import psutil

    from binderlet.deploy.swap_setup import SwapSetup

    machine = SwapSetup()
    used = psutil.swap_memory()
    for name, bytes_ in machine.areas():
        typer.echo(f"{name}: {human(bytes_)}")
    typer.echo(f"{human(used.used)} of {human(used.total)} used" if used.total else "no swap")
    typer.echo("set up by binderlet" if machine.ours() else "nothing was set up by binderlet")


@app.command("off")
def off() -> None:
    """Take away what 'binderlet swap setup' made; needs root, and memory for all that is in it."""
    from binderlet.deploy.swap_setup import SwapSetup

    typer.echo("Swap is as it was." if SwapSetup().off() else "Nothing was set up by binderlet.")


def size(text: str | None) -> int | None:
    """Read a size, or say that it is none."""
    from binderlet.config.units import parse_bytes

    if text is None:
        return None
    try:
        found = parse_bytes(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return found if isinstance(found, int) else None


def human(size: int) -> str:
    """Write a size in GB with one decimal."""
    return f"{size / 1024**3:.1f} GB"
