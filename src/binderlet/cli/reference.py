"""Writes the reference page of the command line from the commands themselves: ``python -m binderlet.cli.reference``."""

from __future__ import annotations

import re
from collections.abc import Iterator

import typer

from binderlet.cli import main

TOP = """\
# Command line

Every command and its options. This page is written by `python -m binderlet.cli.reference`.

Results go to standard output, everything else (progress, logs, errors) to standard error, so
`xdg-open "$(binderlet launch URL)"` works. With `--json` the result is one JSON document. On a terminal progress is
drawn; elsewhere it is plain lines. An error is one sentence and a hint.

`launch`, `build`, `check`, `reserve`, `sessions`, `stop`, `extend`, `status`, `images`, `stop-service`, and `federation
drain` and `ramp` without `--file`, talk to the running service over the socket `run/admin.sock` in its state folder
(`paths.state`), which only the user that runs the service can open; run them with the same settings. All else, and
`build --explain` and `build --locked`, needs no running service.

Ctrl-C or SIGTERM ends `binderlet up` with everything it started. SIGUSR1 ends the control plane alone: sessions and
open connections go on, and the next `binderlet up` finds them again.

| exit code | meaning |
|---|---|
"""

COMPLETION = """\
## Shell completion

`binderlet --install-completion` sets it up for the shell you are in (bash, zsh, fish, PowerShell); open a new shell
afterwards. `binderlet --show-completion` prints the script instead, for a system-wide place such as
`/usr/share/bash-completion/completions/binderlet`.
"""


def render() -> str:
    """Write the page in Markdown."""
    parts = [TOP + "".join(_exit_codes())]
    group = typer.main.get_command(main.app)
    parts += _commands("binderlet", group)
    parts.append(COMPLETION)
    return "\n".join(parts)


def _exit_codes() -> Iterator[str]:
    words = re.sub(r"\s+", " ", (main.__doc__ or "").partition("Exit codes:")[2]).strip(" .")
    for part in words.split("; "):
        code, _, meaning = part.partition(" ")
        yield f"| {code} | {meaning} |\n"


def _commands(name: str, command: object) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is not None:
        for child, found in inner.items():
            yield from _commands(f"{name} {child}", found)
    else:
        yield _command(name, command)


def _command(name: str, command: object) -> str:
    with typer.Context(command, info_name=name, max_content_width=1000) as context:  # type: ignore[arg-type] # Typer's own
        rows = [record for parameter in context.command.params if (record := parameter.get_help_record(context))]
        usage = context.command.get_usage(context).removeprefix("Usage: ")
    about = re.sub(r"(?<!\n)\n(?!\n)", " ", (context.command.help or "").strip())
    lines = [f"## `{name}`\n\n{about}\n\n    {usage}\n"]
    if rows:
        table = "".join(f"| `{_plain(what)}` | {_plain(meaning)} |\n" for what, meaning in rows)
        lines.append(f"| option | meaning |\n|---|---|\n{table}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    typer.echo(render(), nl=False)
