"""``binderlet launch``: from a repository to a link, by the running service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings

if TYPE_CHECKING:
    from binderlet.cli.address import Address
    from binderlet.cli.follow import Result
    from binderlet.config.schema import Settings

Repository = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="A repository: https://github.com/owner/repo[/tree/ref], any git URL, gh/owner/repo/ref."
    ),
]
Ref = Annotated[str, typer.Option("--ref", "-r", help="Branch, tag or commit. Else the one in the URL, else HEAD.")]
Provider = Annotated[
    str, typer.Option("--provider", "-p", help="Repo provider; URL is then its spec as it stands in /build/ URLs.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every line of the build's log.")]


def launch(
    url: Repository,
    *,
    ref: Ref = "",
    path: Annotated[str, typer.Option("--path", help="File of the repository to open.")] = "",
    provider: Provider = "",
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the link in a browser.")] = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Launch a repository and print the link of its session.

    The service must run; 'binderlet up' starts it. The link goes to standard output, everything else to
    standard error.
    """
    import asyncio
    from dataclasses import replace

    settings = read_settings(config, keys).settings
    address = address_of(url, settings, ref=ref, provider=provider)
    if path:
        address = replace(address, path=path)
    result = asyncio.run(request(settings, address, quiet=as_json, verbose=verbose))
    print_result(result, as_json=as_json)
    if open_browser:
        import webbrowser

        webbrowser.open(result.link)


def address_of(url: str, settings: Settings, *, ref: str = "", provider: str = "") -> Address:
    """Read what was typed, by the repo providers of these settings."""
    from binderlet.cli.address import parse_address

    gh = settings.providers.gh
    return parse_address(
        url,
        ref=ref,
        provider=provider,
        github=gh.hostname if gh.enabled else "",
        file_allowed="file" in settings.providers.git.allowed_protocols,
        folders=settings.providers.git.local_folders,
    )


async def request(
    settings: Settings, address: Address, *, quiet: bool, verbose: bool, build_only: bool = False
) -> Result:
    """Ask the running service, showing how it comes along."""
    from binderlet.cli.admin import connect
    from binderlet.cli.follow import obtain
    from binderlet.cli.progress import display

    async with connect(settings) as client:
        with display(quiet=quiet, verbose=verbose) as shown:
            return await obtain(client, address, shown, build_only=build_only)


def print_result(result: Result, *, as_json: bool) -> None:
    """Print the link, or for a build the image; or the whole ``ready`` event as JSON."""
    if as_json:
        import json

        body = {key: value for key, value in result.body.items() if key not in {"phase", "message"}}
        typer.echo(json.dumps(body | ({"link": result.link} if result.link else {})))
    else:
        typer.echo(result.link or result.body.get("imageName", ""))
