"""The options of a service, in one place: ``install``, ``deploy`` and ``cloud-init`` take all of them from here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from binderlet.cli.options import parse_keys

KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator asks for; each field is an option, None where it was not given and stays as it is."""

    domain: Annotated[
        str | None, typer.Option("--domain", help="Host name that visitors type; it must lead to the machine.")
    ] = None
    email: Annotated[str | None, typer.Option("--email", help="Where the certificate authority writes.")] = None
    https: Annotated[
        bool | None,
        typer.Option("--https/--no-https", help="Certificates by themselves; needs --domain.", show_default="https"),
    ] = None
    firewall: Annotated[
        bool | None,
        typer.Option("--firewall/--no-firewall", help="From outside only ssh and the web.", show_default="firewall"),
    ] = None
    swap: Annotated[
        bool | None,
        typer.Option("--swap/--no-swap", help="Swap for sessions that nobody uses.", show_default="swap"),
    ] = None
    updates: Annotated[
        bool | None,
        typer.Option("--updates/--no-updates", help="Security updates by themselves.", show_default="updates"),
    ] = None
    ssh_port: Annotated[
        int | None,
        typer.Option(
            "--ssh-port",
            min=1,
            max=65535,
            help="Stays open in the firewall, besides where ssh listens.",
            show_default="22",
        ),
    ] = None
    s3: Annotated[
        str | None,
        typer.Option(
            "--s3",
            metavar="URL",
            help="Keep images in this bucket: https://HOST/BUCKET; keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.",
        ),
    ] = None
    federation: Annotated[
        str | None, typer.Option("--federation", metavar="URL", help="Be a member of the federation at this address.")
    ] = None
    keys: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as limits.sessions=50. May be repeated."),
    ] = None


def given(asked: Asked) -> dict[str, Any]:
    """Give what was asked for, as ``Wanted.changed`` takes it; keys of a bucket come from this process's environment.

    Raises:
        ConfigError: something in it makes no sense.
    """
    import os

    from binderlet.deploy.install.wanted import Wanted, check, membership, storage

    names = ("domain", "email", "https", "firewall", "swap", "updates", "ssh_port")
    found = {name: value for name in names if (value := getattr(asked, name)) is not None}
    settings = storage(asked.s3 or "", os.environ) | membership(asked.federation or "", asked.domain or "")
    settings |= values(asked.keys)
    if settings:
        found["settings"] = settings
    check(Wanted().changed(found))
    return found


def takes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that has the options of ``Asked`` in place of its first parameter."""
    own = list(inspect.signature(command).parameters.values())[1:]
    hints = get_type_hints(Asked, include_extras=True) | get_type_hints(command, include_extras=True)
    options = [
        inspect.Parameter(each.name, KEYWORD, default=each.default, annotation=hints[each.name])
        for each in fields(Asked)
    ]
    names = {each.name for each in options}

    def run(**arguments: Any) -> None:  # noqa: ANN401 - as Typer read them
        asked = Asked(**{name: arguments.pop(name) for name in names})
        command(asked, **arguments)

    parameters = [*options, *(each.replace(kind=KEYWORD, annotation=hints[each.name]) for each in own)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    return run


def values(keys: list[str] | None) -> dict[str, object]:
    """Read ``--set`` as it goes into a TOML file: numbers, lists, true and false are such, all else is text."""
    import json

    found: dict[str, object] = {}
    for key, text in parse_keys(keys or ()).items():
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
