"""``binderlet build``: from a repository to an image, by the running service."""

from __future__ import annotations

from binderlet.cli.launch import Provider, Ref, Repository, Verbose, address_of, print_result, request
from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings


def build(
    url: Repository,
    *,
    ref: Ref = "",
    provider: Provider = "",
    verbose: Verbose = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    keys: SetKeys = None,
) -> None:
    """Build a repository's image without starting a session, and print the image's name.

    The service must run; 'binderlet up' starts it.
    """
    import asyncio

    settings = read_settings(config, keys).settings
    address = address_of(url, settings, ref=ref, provider=provider)
    result = asyncio.run(request(settings, address, quiet=as_json, verbose=verbose, build_only=True))
    print_result(result, as_json=as_json)
