"""Ways to the network for Dockerfiles that are not ours (pure): nothing secret in them, or in their images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from binderlet.builder.conda import channels as conda
from binderlet.config.network import CA_VARIABLES, NetworkEnvironment
from binderlet.config.redact import redact_urls

MICROMAMBA = re.compile(
    r"https://anaconda\.org/(?P<channel>[\w-]+)/(?P<name>[\w-]+)/\$\{MAMBA_VERSION\}/download/(?=\$\{CONDA_PLATFORM\}/)"
)
"""The site's own address of a package; on a channel, and so on a mirror, it lies below the channel's name."""
BASE_CHANNELS = "channels:\n  - conda-forge\n"
"""In the script that installs repo2docker's base environment: where conda looks from then on."""
ARGUMENT = re.compile(r"(?im)^[ \t]*ARG[ \t]+(.+)$")
FROM = re.compile(r"(?im)^(FROM[ \t].*)$")
RUN = re.compile(r"(?m)^RUN[ \t]+")
FOLDER = "/run/binderlet"
PIP_SECRET, CA_SECRET = "binderlet-pip", "binderlet-ca"
PIP_FILE, CA_FILE = f"{FOLDER}/pip.conf", f"{FOLDER}/ca.pem"


def declared_arguments(dockerfile: str, network: NetworkEnvironment) -> dict[str, str]:
    """Give the build arguments for the package indexes that a repository's own Dockerfile declares.

    One with a password is left out: the value of an argument stays in the image's history.
    """
    names = {word.partition("=")[0] for line in ARGUMENT.findall(dockerfile) for word in line.split()}
    offered = {**network.variables(), "PIP_INDEX_URL": network.index_url, "UV_INDEX_URL": network.index_url}
    return {name: value for name, value in offered.items() if name in names and value and _is_public(value)}


def pip_configuration(network: NetworkEnvironment) -> str:
    """Write the file by which pip finds the package indexes; empty where these are pip's own."""
    lines = [f"index-url = {network.index_url}"] if network.index_url else []
    if network.extra_index_urls:
        lines.append(f"extra-index-url = {' '.join(network.extra_index_urls)}")
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def with_network(dockerfile: str, secrets: Mapping[str, object], variables: Mapping[str, str]) -> str:
    """Give repo2docker's Dockerfile with ways to the network in each of its steps, and nothing of them in its image.

    ``secrets`` has the names of those that the build is given; ``variables`` are for the steps, and no secrets.
    """
    arguments = {name: value for name, value in variables.items() if "\n" not in value}
    mounts = []
    if PIP_SECRET in secrets:
        arguments["PIP_CONFIG_FILE"] = PIP_FILE
        mounts.append(f"--mount=type=secret,id={PIP_SECRET},target={PIP_FILE},mode=0444")
    if CA_SECRET in secrets:
        arguments |= dict.fromkeys((*CA_VARIABLES, "NODE_EXTRA_CA_CERTS"), CA_FILE)
        mounts.append(f"--mount=type=secret,id={CA_SECRET},target={CA_FILE},mode=0444")
    if arguments:
        lines = "".join(f"\nARG {name}={_quoted(value)}" for name, value in sorted(arguments.items()))
        dockerfile = FROM.sub(lambda found: found[1] + lines, dockerfile)
    return RUN.sub(lambda _: " ".join(["RUN", *mounts, ""]), dockerfile) if mounts else dockerfile


def conda_variables(network: NetworkEnvironment) -> dict[str, str]:
    """Give the variables by which conda and mamba put channels' names behind the mirror, unless it has a password."""
    if not network.conda_mirror or not is_open(network.conda_mirror):
        return {}
    return dict.fromkeys(("CONDA_CHANNEL_ALIAS", "MAMBA_CHANNEL_ALIAS"), network.conda_mirror)


def with_conda(text: str, mirror: str, channels: Sequence[str]) -> str:
    """Give one of repo2docker's own files, script or list of packages, with the operator's mirror and channels.

    Conda itself comes from ``conda-forge``, so that stays the last of the channels. What has a password is left out:
    the files become part of the image, and their text of the log.
    """
    if mirror and is_open(mirror):
        text = MICROMAMBA.sub(rf"{mirror}/\g<channel>/", text).replace(f"{conda.ALIAS}/", f"{mirror}/")
    named = dict.fromkeys([*filter(is_open, channels), "conda-forge"])
    return text.replace(BASE_CHANNELS, "channels:\n" + "".join(f"  - {name}\n" for name in named))


def is_open(url: str) -> bool:
    """Whether an address of conda has neither password nor token."""
    return conda.public(url) == url


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _is_public(value: str) -> bool:
    return redact_urls(value) == value
