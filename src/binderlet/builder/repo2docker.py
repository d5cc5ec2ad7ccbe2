"""Runs repo2docker as a job, for what the own builder does not know."""

from __future__ import annotations

from binderlet.builder.fallback import FallbackJob, diagnose_fallback
from binderlet.builder.job import JobSpec, Outcome
from binderlet.builder.plan import Plan
from binderlet.builder.running import Jobs
from binderlet.builder.steps import Limits
from binderlet.builder.toolchain import Toolchain
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BadRepository
from binderlet.events.buildlog import BuildLog


class Repo2Docker:
    """repo2docker with the build tool, the jobs and the way to the network that other builds have."""

    def __init__(self, settings: BuilderSettings, network: dict[str, str], tools: Toolchain, jobs: Jobs) -> None:
        self._settings = settings
        self._network = network
        self._tools = tools
        self._jobs = jobs

    async def build(
        self, files: FallbackJob, plan: Plan, log: BuildLog, *, deadline: float, steps: Limits | None = None
    ) -> Outcome:
        """Build an image; ``files.folder`` is the job's, and its name is the job's key.

        Raises:
            BadRepository: the operator wants none of this, or repo2docker refuses the repository.
            RegistryUnreachable: a server that it needs does not answer.
            MissingProgram: it is not installed.
            BuildFailed: a step failed.
        """
        if not self._settings.fallback:
            raise BadRepository(
                f"This service builds no {plan.language} environments.",
                hint="Add a requirements.txt or a Dockerfile; operators can set builder.fallback.",
            )

        def spec(seconds: float) -> JobSpec:
            return JobSpec(
                command=files.command(),
                environment=files.environment(self._tools, self._network),
                log=log.path,
                limit=self._settings.log_limit,
                timeout=seconds,
                progress="repo2docker",
                steps=steps,
            )

        outcome = await self._jobs.run(files.folder.name, files, spec, log, deadline=deadline)
        if outcome.reason == "exited" and outcome.code != 0:
            raise diagnose_fallback(outcome.tail, plan, outcome.code)
        return outcome
