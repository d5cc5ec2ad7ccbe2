"""``binderlet build``: from a repository to an image, by the running service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.launch import Provider, Ref, Repository, Verbose, address_of, print_result, request
from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.cli.local import Source
    from binderlet.config.schema import Settings


def build(
    url: Repository,
    *,
    ref: Ref = "",
    provider: Provider = "",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Build nothing: say which files count, and what would make it be built anew."),
    ] = False,
    locked: Annotated[
        str,
        typer.Option(
            "--locked", metavar="FILE|URL", help="Packages of a lock: a file of 'binderlet lock', or a repository."
        ),
    ] = "",
    verbose: Verbose = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Build a repository's image without starting a session, and print the image's name.

    The service must run; 'binderlet up' starts it. --explain and --locked need no service; URL may then be a folder.
    """
    import asyncio

    settings = read_settings(config, keys).settings
    if explain:
        from binderlet.cli.local import Source

        _explain(settings, Source(url, ref, provider), as_json=as_json)
        return
    if locked:
        from binderlet.cli.local import Source

        _build_locked(settings, Source(url, ref, provider), locked, as_json=as_json)
        return
    address = address_of(url, settings, ref=ref, provider=provider)
    result = asyncio.run(request(settings, address, quiet=as_json, verbose=verbose, build_only=True))
    print_result(result, as_json=as_json)


def _explain(settings: Settings, source: Source, *, as_json: bool) -> None:
    import asyncio
    import json
    from dataclasses import asdict

    from binderlet.builder.explain import as_text
    from binderlet.cli.local import Local

    explanation = asyncio.run(Local(settings).explain(source))
    typer.echo(json.dumps(asdict(explanation)) if as_json else as_text(explanation).rstrip())


def _build_locked(settings: Settings, source: Source, locked: str, *, as_json: bool) -> None:
    import asyncio
    import json

    from binderlet.cli.local import Local

    def say(text: str) -> None:
        typer.echo(text, err=True, nl=False)

    image = asyncio.run(Local(settings).build_locked(source, locked, say))
    typer.echo(json.dumps({"imageName": image}) if as_json else image)
