"""How repo2docker is started for what the own builder does not know, and what its failures mean (pure).

repo2docker runs as a job like any other build: in a process of its own that outlives the control plane. It gets the
checkout as a folder, so that it fetches nothing itself, and builds through ``fallback_engine``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from binderlet.builder import foreign
from binderlet.builder.diagnose import diagnose
from binderlet.builder.layout import UID, USER
from binderlet.builder.plan import Plan
from binderlet.builder.toolchain import Toolchain
from binderlet.config.network import NetworkEnvironment
from binderlet.errors import BadRepository, BinderletError, BuildFailed, MissingProgram, RegistryUnreachable

ENGINE = "binderlet"
"""Our name among repo2docker's engines, see ``pyproject.toml``."""
KIND, PROGRAM, SOCKET = "BINDERLET_TOOL_KIND", "BINDERLET_TOOL_PROGRAM", "BINDERLET_TOOL_SOCKET"
"""Variables that tell the engine which build tool was chosen."""
NAMESPACE = "BINDERLET_CACHE_NAMESPACE"
SECRETS, VARIABLES = "BINDERLET_SECRETS", "BINDERLET_VARIABLES"
"""JSON: paths by name, and what is no secret."""
CONDA = "BINDERLET_CONDA"
"""JSON: the mirror's address, and the channels."""

ITS_OWN_ERROR = re.compile(r"(?m)^Error during build: (.+)$")
DOCKER_HUB = re.compile(r"registry-1\.docker\.io|auth\.docker\.io|docker\.io/library/")
SILENT = (
    (re.compile(r"micromamba"), "anaconda.org"),
    (re.compile(r"mamba env |conda\.anaconda\.org"), "conda.anaconda.org"),
    (re.compile(r"julialang|jlpkg"), "julialang-s3.julialang.org"),
    (re.compile(r"nixos\.org|install-nix"), "nixos.org"),
    (re.compile(r"nodesource"), "deb.nodesource.com"),
)
"""Steps of repo2docker's that download without saying what went wrong, and from where."""
NO_DOWNLOAD = re.compile(
    r"not look like a tar archive|Cannot exec|ends unexpectedly|unexpected end of file|wget: |curl: \(|"
    r"exit code: [467]\b"
)
COMMAND_FAILED = re.compile(r"Command '|.*returned non-zero exit status")


@dataclass(frozen=True, slots=True)
class FallbackJob:
    """One run of repo2docker."""

    folder: Path
    """The job's; the configuration is written into it."""
    checkout: Path
    image: str
    labels: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Build arguments, such as proxies."""
    base_image: str = ""
    """What it builds on; empty for its own choice."""
    channels: Sequence[str] = ()
    """Conda's, where a file names none."""
    cache_namespace: str = ""
    network: NetworkEnvironment = field(default_factory=NetworkEnvironment)
    """What its steps need to reach package indexes."""

    @property
    def secrets(self) -> dict[str, Path]:
        """Give the files that its steps see and its image does not have."""
        found = {foreign.PIP_SECRET: self.folder / "pip.conf"} if foreign.pip_configuration(self.network) else {}
        return found | ({foreign.CA_SECRET: self.network.ca_bundle} if self.network.ca_bundle is not None else {})

    @property
    def config(self) -> str:
        """Its configuration file: Python, so everything in it is a literal."""
        lines = [f"c.Repo2Docker.extra_build_args = {dict(self.arguments)!r}"]
        if self.base_image:
            lines.append(f"c.Repo2Docker.base_image = {self.base_image!r}")
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        """Write the configuration. Blocks on the disk."""
        (self.folder / "repo2docker_config.py").write_text(self.config, encoding="utf-8")
        (self.folder / "pip.conf").touch(mode=0o600)
        (self.folder / "pip.conf").write_text(foreign.pip_configuration(self.network), encoding="utf-8")

    def command(self) -> list[str]:
        """Give the program and its arguments; ``-P`` keeps the checkout off the import path."""
        command = [sys.executable, "-P", "-m", "repo2docker", "--config", str(self.folder / "repo2docker_config.py")]
        command += ["--engine", ENGINE, "--json-logs", "--no-run", "--no-clean"]
        command += ["--user-id", str(UID), "--user-name", USER, "--image-name", self.image]
        for name, value in sorted(self.labels.items()):
            command += ["--label", f"{name}={value}"]
        return [*command, str(self.checkout)]

    def environment(self, tools: Toolchain, network: Mapping[str, str]) -> dict[str, str]:
        """Give the variables that it needs: ``network`` leads to what it asks itself, the others are the engine's."""
        return {
            **network,
            **tools.environment,
            KIND: tools.kind,
            PROGRAM: tools.program,
            SOCKET: tools.socket,
            NAMESPACE: self.cache_namespace,
            SECRETS: json.dumps({name: str(path) for name, path in self.secrets.items()}),
            VARIABLES: json.dumps({**self.network.passed_on, **foreign.conda_variables(self.network)}),
            CONDA: json.dumps([self.network.conda_mirror, *self.channels]),
        }


def toolchain(environment: Mapping[str, str]) -> Toolchain:
    """Give the build tool that ``FallbackJob.environment`` was made for."""
    kind = environment[KIND]
    if kind == "buildx":
        return Toolchain("buildx", environment[PROGRAM], "", environment.get(SOCKET, ""))
    return Toolchain("podman" if kind == "podman" else "docker", environment[PROGRAM], "", environment.get(SOCKET, ""))


def diagnose_fallback(tail: str, plan: Plan, code: int) -> BinderletError:
    """Make the error of a run of repo2docker that ended with ``code`` after printing ``tail``."""
    if "No module named repo2docker" in tail or f"Container engine '{ENGINE}' not found" in tail:
        return MissingProgram(
            f"Building {plan.language} environments needs repo2docker, which is not installed beside binderlet.",
            hint="Install binderlet again, with its dependencies; or set builder.fallback to false.",
        )
    error = diagnose(tail, plan, code)
    if isinstance(error, RegistryUnreachable):
        return RegistryUnreachable(error.message, hint=_hint(tail, error.message))
    if type(error) is BuildFailed and NO_DOWNLOAD.search(tail) and (host := _silent_host(tail)):
        message = f"{host} cannot be reached from here, and repo2docker needs it for {plan.language}."
        return RegistryUnreachable(message, hint=_hint(tail, host))
    if type(error) is BuildFailed and (found := ITS_OWN_ERROR.findall(tail)) and not COMMAND_FAILED.match(found[-1]):
        return BadRepository(f"repo2docker cannot build this repository: {found[-1].strip().rstrip('.')}.")
    return error


def _hint(tail: str, host: str) -> str:
    if "anaconda.org" in host:
        return "Set network.conda_mirror to one that can be reached, or network.https_proxy and network.ca_bundle."
    if DOCKER_HUB.search(tail):
        return "Set builder.fallback_base to an image that this machine has or can pull, or let the engine reach it."
    return "Is this machine connected? Behind a proxy set network.http_proxy and network.https_proxy."


def _silent_host(tail: str) -> str:
    """Give the host of the last step that downloads without a word."""
    places = [(found.start(), host) for pattern, host in SILENT for found in pattern.finditer(tail)]
    return max(places)[1] if places else ""
