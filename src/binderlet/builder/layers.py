"""Runs the build tool for a repository: for its environment, its content, or both at once; for its own Dockerfile."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import binderlet
from binderlet.builder import install_program, lock, render
from binderlet.builder.base import BaseImage, BuildRequest
from binderlet.builder.conda import recipe
from binderlet.builder.conda.recipe import Solution
from binderlet.builder.context import Context, own_ignore_file
from binderlet.builder.detect import Detected
from binderlet.builder.environments import PLATFORM, Environment
from binderlet.builder.foreign import declared_arguments
from binderlet.builder.index import uv_configuration
from binderlet.builder.job import JobSpec, Outcome
from binderlet.builder.keys import BUILDER_VERSION, job_key
from binderlet.builder.late import hand_over
from binderlet.builder.layout import REPO_DIR, UID, USER
from binderlet.builder.namespaces import Namespaces
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.resolution import Resolution
from binderlet.builder.running import Jobs
from binderlet.builder.stack import Stack
from binderlet.builder.steps import NO_LIMITS, Limits, mark
from binderlet.builder.toolchain import BuildCommand, Toolchain
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.events.buildlog import BuildLog
from binderlet.model import Commit
from binderlet.tasks import Tasks

PROXY_VARIABLES = {"http_proxy", "https_proxy", "no_proxy"}
"""Passed as build arguments, which BuildKit predefines and keeps out of the image's history."""
PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
"""Paths that a mount can name."""
SECRET_BYTES = 400_000
"""Of a file that becomes a secret: the engine takes half a megabyte."""
SECRET_FILES = 16
INSTALL_PROGRAM = Path(install_program.__file__)


@dataclass(frozen=True, slots=True)
class Work:
    """What the steps of one build share."""

    request: BuildRequest
    plan: Plan
    log: BuildLog
    deadline: float
    stack: Stack = field(default_factory=Stack)
    """Packages that are there already, in layers of their own."""
    resolving: asyncio.Future[Resolution | None] | None = None
    """Finds out all packages meanwhile, where these can be told beforehand."""

    async def resolution(self) -> Resolution | None:
        """Give all packages; None where they cannot be told."""
        if self.resolving is None:
            return None
        await asyncio.wait([self.resolving])  # who is cancelled here leaves it running for the others
        return self.resolving.result()

    async def instructions(self) -> str:
        """Give what to install, for ``install_program``; empty where the build step must resolve."""
        found = await self.resolution()
        return found.instructions if found is not None else ""


class Layers:
    """Runs the build tool, each run as a job that goes on when this process ends."""

    def __init__(
        self,
        settings: BuilderSettings,
        network: NetworkEnvironment,
        tools: Toolchain,
        jobs: Jobs,
        namespaces: Namespaces,
    ) -> None:
        self._settings = settings
        self._network = network
        self._tools = tools
        self._jobs = jobs
        self._namespaces = namespaces
        self.limits = NO_LIMITS
        """Of each run's steps."""

    def can_be_one(self, plan: Plan) -> bool:
        """Whether environment and content can be built at once.

        Not with Podman, which has no caches of its own for each stage; not where the content uses its owner's package
        cache, as a run has one for all of its steps; not where the environment's files are too much for secrets.
        """
        files = plan.requirements
        return (
            self._tools.has_cache_mounts
            and bool(plan.requirements_file or plan.apt)
            and plan.conda is None
            and not plan.local
            and len(files) <= SECRET_FILES
            and all(PLAIN.fullmatch(path) and len(text) <= SECRET_BYTES // 4 for path, text in files.items())
        )

    async def environment(
        self, work: Work, base: BaseImage, environment: Environment, solution: Solution | None, *, wheels_only: bool
    ) -> Outcome:
        """Build the environment alone."""
        tag = environment.image
        job = job_key(tag if wheels_only else f"{tag} from source")
        has_mounts = self._tools.has_cache_mounts
        conda = recipe.layers(base.name, work.plan.conda, solution, cache_mounts=has_mounts)
        dockerfile = render.environment(
            base.name,
            work.plan,
            environment.key,
            wheels_only=wheels_only,
            cache_mounts=has_mounts,
            stages=conda.stages,
            steps=conda.steps,
            lock=json.dumps(self.facts(work, base, environment.key)),
            workdir=bool(self._settings.base_image),
        )
        context = replace(
            self.context(job, dockerfile),
            uv=uv_configuration(self._network, self._settings, work.plan),
            requirements=work.plan.requirements,
            is_late=wheels_only and work.resolving is not None,
            texts=conda.texts,
            links={**conda.links, render.LOCK_PROGRAM: lock.PROGRAM, render.INSTALL_PROGRAM: INSTALL_PROGRAM},
            ignore="",
        )
        command = BuildCommand(
            dockerfile=context.dockerfile_path,
            context=context.root,
            tag=tag,
            cache_namespace=self._namespaces.shared,
        )
        return await self.run(work, job, context, command)

    async def content(self, work: Work, environment: Environment, labels: Mapping[str, str]) -> Outcome:
        """Add the content to an environment that is there."""
        job = job_key(work.request.image)
        dockerfile = render.content(environment.image, work.plan, cache_mounts=self._tools.has_cache_mounts)
        context = replace(self.context(job, dockerfile), ignore=work.plan.ignore)
        command = BuildCommand(
            dockerfile=context.dockerfile_path,
            context=work.request.checkout.absolute(),
            tag=work.request.image,
            labels=self._labels_on(work, environment) | dict(labels),
            cache_namespace=self._namespaces.of_owner(work.request.commit.owner),
        )
        return await self.run(work, job, context, command)

    async def both(self, work: Work, base: BaseImage, environment: Environment) -> Outcome:
        """Build the environment from wheels, and the content on it, as an image without a name.

        The step that runs no strangers' code is the only one with a cache, the one that all share.
        """
        job = job_key(work.request.image)
        context, command = self._both(work, base, environment, job)
        return await self.run(work, job, replace(context, is_late=work.resolving is not None), command)

    async def name(self, work: Work, base: BaseImage, environment: Environment) -> Outcome:
        """Give the environment that ``both`` has built its name: all its layers are there."""
        job = job_key(environment.image)
        context, command = self._both(work, base, environment, job)
        context = replace(context, resolved=await work.instructions())
        command = replace(command, target=render.ENVIRONMENT_STAGE, tag=environment.image, labels={})
        # A folder without files is its context: it needs none.
        return await self._run_silently(work, job, context, replace(command, context=context.root))

    async def stack(self, work: Work, base: BaseImage, image: str) -> Outcome:
        """Make the layers of ``work.stack``, for which nobody waits, and give them the name ``image``."""
        job = job_key(image)
        dockerfile = render.stack(base.name, work.plan, work.stack, image.rpartition(":")[2])
        uv = uv_configuration(self._network, self._settings, work.plan)
        context = replace(self.context(job, dockerfile), uv=uv)
        command = BuildCommand(
            dockerfile=context.dockerfile_path,
            context=context.root,
            tag=image,
            cache_namespace=self._namespaces.shared,
        )
        return await self._run_silently(work, job, context, command, self.limits.in_background())

    async def fetch(self, work: Work, base: BaseImage) -> Outcome:
        """Bring the wheels of ``work.resolution`` into the cache that builds share; nobody waits for it."""
        job = job_key(f"{work.request.image} wheels")
        # Never twice the same, or the build tool would take the step's result from its own cache.
        dockerfile = render.fetch(base.name, work.plan.python, secrets.token_hex(8))
        context = replace(
            self.context(job, dockerfile),
            uv=uv_configuration(self._network, self._settings, work.plan),
            resolved=await work.instructions(),
            more_secrets={render.INSTALL_PROGRAM: INSTALL_PROGRAM},
        )
        command = BuildCommand(
            dockerfile=context.dockerfile_path,
            context=context.root,
            tag="",
            cache_namespace=self._namespaces.shared,
            output=context.folder / "report",
        )
        return await self._run_silently(work, job, context, command, self.limits.in_background())

    def _both(self, work: Work, base: BaseImage, environment: Environment, job: str) -> tuple[Context, BuildCommand]:
        known = json.dumps(self.facts(work, base, environment.key))
        workdir = bool(self._settings.base_image)
        dockerfile = render.both(base.name, work.plan, environment.key, lock=known, workdir=workdir, stack=work.stack)
        files = render.file_secrets(work.plan)
        context = replace(
            self.context(job, dockerfile),
            uv=uv_configuration(self._network, self._settings, work.plan),
            requirements=work.plan.requirements,
            more_secrets={render.LOCK_PROGRAM: lock.PROGRAM, render.INSTALL_PROGRAM: INSTALL_PROGRAM}
            | {name: Path(render.REQUIREMENTS, path) for path, name in files.items()},
            ignore=work.plan.ignore,
        )
        command = BuildCommand(
            dockerfile=context.dockerfile_path,
            context=work.request.checkout.absolute(),
            tag="",
            labels=self._labels_on(work, environment),
            cache_namespace=self._namespaces.shared,
        )
        return context, command

    async def dockerfile(self, work: Work, found: Detected) -> Outcome:
        """Build the repository's own Dockerfile.

        A copy of it is built, byte by byte: the tool would follow a symbolic link out of the checkout.
        """
        job = job_key(work.request.image)
        text = found.content("Dockerfile").decode("utf-8", "surrogateescape")
        context = self.context(job, text)
        must = self._tools.kind == "podman"
        ignored = await asyncio.to_thread(own_ignore_file, work.request.checkout, work.plan.dockerfile, must=must)
        command = BuildCommand(
            dockerfile=context.dockerfile_path,
            context=work.request.checkout.absolute(),
            tag=work.request.image,
            labels=labels_of(work.request.commit),
            arguments={"NB_USER": USER, "NB_UID": str(UID), "REPO_DIR": REPO_DIR}
            | declared_arguments(text, self._network),
            cache_namespace=self._namespaces.of_owner(work.request.commit.owner),
        )
        return await self.run(work, job, replace(context, ignore=ignored), command)

    async def run(
        self, work: Work, job: str, context: Context, command: BuildCommand, limits: Limits | None = None
    ) -> Outcome:
        """Run the build tool as the job ``job``; ``limits`` where they are others than a build's."""
        tools = self._tools
        whole = replace(
            command,
            arguments={**command.arguments, **self.proxies(job)},
            secrets=context.secrets,
            memory=self._settings.memory,
        )

        def spec(seconds: float) -> JobSpec:
            return JobSpec(
                command=tools.command_line(whole),
                environment=tools.environment,
                log=work.log.path,
                limit=self._settings.log_limit,
                timeout=seconds,
                progress=progress(tools, work.plan),
                steps=(limits or self.limits)._replace(mark=mark(job)),
            )

        files = replace(context, hidden=tools.stowaways(whole))
        async with Tasks("build") as tasks:
            if files.is_late:
                tasks.start(hand_over(files.resolved_path, work.instructions()), name="hand over")
            return await self._jobs.run(job, files, spec, work.log, deadline=work.deadline)

    async def _run_silently(
        self, work: Work, job: str, context: Context, command: BuildCommand, limits: Limits | None = None
    ) -> Outcome:
        """Do as ``run``, with no line of it for anybody."""
        silent = replace(work, log=BuildLog(context.folder.parent / f"{job}.log"))
        try:
            return await self.run(silent, job, context, command, limits)
        finally:
            await asyncio.to_thread(silent.log.path.unlink, missing_ok=True)

    def proxies(self, job: str) -> dict[str, str]:
        """Give the proxies' variables, with the build's mark, by which its supervisor knows its steps."""
        found = {name: value for name, value in self._network.variables().items() if name.lower() in PROXY_VARIABLES}
        if self._tools.can_mark:
            found["no_proxy"] = ",".join(filter(None, [found.get("no_proxy", ""), mark(job)]))
        return found

    def context(self, job: str, dockerfile: str) -> Context:
        """Give the files that each run reads."""
        ca_bundle = self._network.ca_bundle
        variables = self._network.variables(render.CA_BUNDLE if ca_bundle else "")
        return Context(
            folder=self._jobs.path(job).absolute(),
            dockerfile=dockerfile,
            variables={name: value for name, value in variables.items() if name.lower() not in PROXY_VARIABLES},
            ca_bundle=ca_bundle,
        )

    def facts(self, work: Work, base: BaseImage, key: str) -> dict[str, Any]:
        """Give what is known of an environment before it is built."""
        return lock.facts(
            work.plan, base=base.name, base_id=base.id, platform=PLATFORM, key=key, builder=BUILDER_VERSION
        )

    def _labels_on(self, work: Work, environment: Environment) -> dict[str, str]:
        return labels_of(work.request.commit) | {
            "binderlet.environment": environment.key,
            "binderlet.base": environment.id,
            "binderlet.python": environment.python,
        }


def labels_of(commit: Commit) -> dict[str, str]:
    """Give the labels that the images of all kinds of repositories have."""
    return {
        "repo2docker.version": f"binderlet-{binderlet.__version__}",
        "repo2docker.repo": commit.repo_url,
        "repo2docker.ref": commit.sha,
        "binderlet.image": "content",
        "binderlet.commit": commit.sha,
        "binderlet.builder": BUILDER_VERSION,
    }


def progress(tools: Toolchain, plan: Plan) -> str:
    """Say how to read the tool's output: who wrote a Dockerfile wants to see its steps, nobody wants to see ours."""
    if tools.kind == "podman":
        return "raw"
    return "steps" if plan.kind is Kind.DOCKERFILE else "output"
