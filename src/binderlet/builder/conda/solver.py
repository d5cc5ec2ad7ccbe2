"""Asks the solver, as a job that outlives the control plane, and says what went wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binderlet.builder.conda import recipe
from binderlet.builder.conda.channels import public
from binderlet.builder.conda.environment_file import EnvironmentFile
from binderlet.builder.conda.recipe import Question, Solution
from binderlet.builder.job import JobSpec, Outcome
from binderlet.builder.running import Jobs
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.config.units import format_duration
from binderlet.errors import BadRepository, BinderletError, BuildFailed, BuildTimeout, RegistryUnreachable
from binderlet.events.buildlog import BuildLog

SOLVE_PROGRAM = Path(__file__).with_name("solve_program.py")
"""Runs on this machine; to import it would be to load the solver, which crashes at times while Python ends."""
MACHINES = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
"""conda's words for machines."""
HINT = "Set network.conda_mirror to one that can be reached, or network.https_proxy and network.ca_bundle."


@dataclass(frozen=True, slots=True)
class _Files:
    """The request, in the job's folder."""

    folder: Path
    body: Mapping[str, Any]
    output: Path

    def write(self) -> None:
        """Write it, which may hold a mirror's password, and remove an older answer."""
        self.output.unlink(missing_ok=True)
        path = self.folder / "request.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.body), encoding="utf-8")


class CondaSolver:
    """Solves environments and downloads their packages below ``folder``, for all builds."""

    def __init__(
        self, settings: BuilderSettings, network: NetworkEnvironment, jobs: Jobs, folder: Path, machine: str
    ) -> None:
        self._settings = settings
        self._network = network
        self._jobs = jobs
        self._folder = folder.absolute()
        self._machine = machine

    async def solve(
        self, found: EnvironmentFile, key: str, log: BuildLog, *, deadline: float, exclude_newer: str = ""
    ) -> Solution:
        """Give the packages of an environment, downloaded; ``key`` names the job.

        Raises:
            BadRepository: it cannot be solved, with the solver's words, or the file is wrong.
            RegistryUnreachable: a channel does not answer, or is not there; the message names it.
            BuildTimeout: the deadline passed.
            BuildFailed: something else.
        """
        question = recipe.ask(found, self._settings.conda_channels, self._network.conda_mirror)
        output = self._folder / "solved" / f"{key}.json"
        body = self._body(found, question, output, exclude_newer)
        request = self._jobs.path(key).absolute() / "request.json"
        command = [sys.executable, "-I", str(SOLVE_PROGRAM), str(request)]

        def spec(seconds: float) -> JobSpec:
            return JobSpec(command, self._environment(), log.path, self._settings.log_limit, seconds)

        log.write(_what(found, question))
        files = _Files(self._jobs.path(key).absolute(), body, output)
        outcome = await self._jobs.run(key, files, spec, log, deadline=deadline)
        answer = await asyncio.to_thread(_read, output)
        return self._solution(found, question, answer, outcome, log)

    def _body(self, found: EnvironmentFile, question: Question, output: Path, exclude_newer: str) -> dict[str, Any]:
        return {
            "channels": [{"name": public(channel.name), "url": channel.url} for channel in question.channels],
            "attempts": question.attempts,
            "archives": recipe.archives(found, self._settings.conda_channels, self._network.conda_mirror),
            "platform": MACHINES.get(self._machine, f"linux-{self._machine}"),
            "virtual_packages": recipe.virtual_packages(self._settings.base_suite, self._machine),
            "exclude_newer": exclude_newer,
            "lists": str(self._folder / "lists"),
            "packages": str(self._folder / "packages"),
            "limit": self._settings.conda_cache,
            "output": str(output),
        }

    def _environment(self) -> dict[str, str]:
        found = self._network.clone_environment()
        if self._network.ca_bundle is not None:
            found["SSL_CERT_FILE"] = str(self._network.ca_bundle)
        return found

    def _solution(
        self,
        found: EnvironmentFile,
        question: Question,
        answer: Mapping[str, Any] | None,
        outcome: Outcome,
        log: BuildLog,
    ) -> Solution:
        if answer is None:
            if outcome.reason == "timeout":
                limit = format_duration(self._settings.timeout)
                raise BuildTimeout(f"The build took longer than {limit}, so it was ended.")
            raise BuildFailed(f"The conda solver ended without an answer (exit code {outcome.code}).")
        if "error" in answer:
            raise _error(found, question, answer)
        if found.archives:
            return Solution(tuple(answer["packages"]), has_jupyter=True)
        attempt = int(answer["attempt"])
        has_jupyter = recipe.ATTEMPTS[attempt] is not recipe.NO_JUPYTER or _names_jupyter(found)
        if not has_jupyter:
            log.write("These channels have no JupyterLab for this environment: it is taken from the package index.")
        return Solution(tuple(answer["packages"]), has_jupyter)


def _what(found: EnvironmentFile, question: Question) -> str:
    """Say what is done now."""
    if found.archives:
        return "Taking the conda packages that the lock names..."
    names = ", ".join(dict.fromkeys(public(channel.name) for channel in question.channels))
    return f"Solving the conda environment, with packages from {names}..."


def _names_jupyter(found: EnvironmentFile) -> bool:
    return {"jupyterlab", "notebook"} <= found.names()


def _error(found: EnvironmentFile, question: Question, answer: Mapping[str, Any]) -> BinderletError:
    """Make the error of an answer."""
    about, message = str(answer["about"]), str(answer["message"]).rstrip(".")
    match answer["error"]:
        case "spec":
            at = question.own.index(about) if about in question.own else -1
            line = found.lines.get(found.specs[at]) if at >= 0 else None
            where = f"{found.path}, line {line}" if line else found.path
            return BadRepository(f"{where}: {public(about)!r} is not a package as conda writes it: {message}.")
        case "unsolvable":
            words = " ".join(message.replace("└─", "").replace("├─", ";").replace("│", "").split())
            return BadRepository(f"{found.path} cannot be installed: {words}.")
        case "no channel":
            return RegistryUnreachable(f"The conda channel {about} does not exist: {message}.")
        case "channel":
            return RegistryUnreachable(f"The conda channel {about} cannot be reached from here: {message}.", hint=HINT)
        case "failed":
            return BuildFailed(f"The conda solver failed: {message}.")
        case _:
            return RegistryUnreachable(f"A conda package cannot be downloaded: {message}.", hint=HINT)


def _read(path: Path) -> Mapping[str, Any] | None:
    """Give an answer; None where there is none. Builds that share a job read it one after the other."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return body if isinstance(body, dict) else None
