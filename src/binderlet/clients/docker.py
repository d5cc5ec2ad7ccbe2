"""The container engine's API: finds its socket, opens it, and turns its errors into ours.

Docker and Podman speak the same API; ``DockerClient.product`` says which of them answers. The engine, the image
store and the builder share one opened client, so that its connections stay warm.

Foreign errors become ours in one place, ``engine_errors``:

* no such image -> ``ImageMissing``; no such anything else -> ``NotFound``;
* a container that the engine refuses to start as asked (400, 409 and other 4xx) -> ``LaunchFailed``;
* no answer, a broken answer or a failure of the engine itself (5xx) -> ``EngineUnavailable``.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from binderlet.config.schema import EngineSettings
from binderlet.errors import BinderletError, ConfigError, EngineUnavailable, ImageMissing, LaunchFailed, NotFound

CALL_TIMEOUT = 120.0
"""Seconds one call may take; ten cold starts at once on two cores need ten."""

UNREACHABLE = 900
"""The status that aiodocker invents when it cannot connect."""

FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    DockerError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    # What aiodocker raises when something answers that is not an engine: no JSON, no known type, no message.
    ValueError,
    TypeError,
    KeyError,
)


def translate(error: Exception) -> BinderletError:
    """Give our error for one that aiodocker, aiohttp or the operating system raised."""
    if isinstance(error, BinderletError):
        return error
    if isinstance(error, DockerError):
        return _translate_status(error)
    if isinstance(error, TimeoutError):
        return EngineUnavailable("The container engine did not answer in time.")
    if isinstance(error, ValueError | TypeError | KeyError):
        return EngineUnavailable(f"The container engine gave an answer that makes no sense: {error!r}.")
    return EngineUnavailable(f"The container engine does not answer: {str(error) or type(error).__name__}.")


def _translate_status(error: DockerError) -> BinderletError:
    said = error.message.strip() or type(error).__name__
    if error.status == 404 and "image" in said.lower():  # noqa: PLR2004 - HTTP's own number
        return ImageMissing(f"The container engine has no such image: {said}.")
    if error.status == 404:  # noqa: PLR2004 - HTTP's own number
        return NotFound(f"The container engine knows no such thing: {said}.")
    if 400 <= error.status < 500:  # noqa: PLR2004 - HTTP's own numbers
        return LaunchFailed(f"The container engine refused: {said}.")
    if error.status == UNREACHABLE:
        return EngineUnavailable(f"The container engine does not answer: {said}.")
    return EngineUnavailable(f"The container engine failed: {said}.")


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise our error instead of a foreign one; also works as a decorator of a synchronous function.

    Raises:
        BinderletError: see ``translate``; the foreign error is its cause.
    """
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise translate(error) from error


class DockerClient:
    """An open connection to one engine.

    ``docker`` is aiodocker's own object for the calls that it knows; use it inside ``engine_errors``.
    """

    def __init__(self, docker: aiodocker.Docker, *, socket: str, product: str, version: str) -> None:
        self.docker = docker
        self.socket = socket
        """Where it listens: ``/var/run/docker.sock``, or a URL."""
        self.product = product
        """``Docker`` or ``Podman``."""
        self.version = version
        """Such as ``20.10.24``."""

    @property
    def is_podman(self) -> bool:
        """Whether Podman answers, by its Docker-compatible API."""
        return self.product == "Podman"

    def __str__(self) -> str:
        return f"{self.product} {self.version}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Make one call and give its JSON, or an empty string where the engine answers nothing.

        Raises:
            DockerError: the engine refused; the caller looks at the status or lets ``engine_errors`` translate it.
        """
        data = None if body is None else json.dumps(body)
        # aiodocker offers no public way to make a call whose answer is the plain JSON.
        return await self.docker._query_json(path, method, params=params, data=data)  # noqa: SLF001

    async def relabel(self, image: str, name: str, labels: Mapping[str, str]) -> None:
        """Make an image of the same layers, with a name and more labels; the other one stays.

        An archive is loaded that has nothing but the description of an image whose layers are there: some milliseconds,
        where each way to build or commit makes a container first.

        Raises:
            DockerError: the engine refused, or wants the layers, too.
        """
        found = await self.call("GET", f"images/{image}/json")
        past = await self.call("GET", f"images/{image}/history")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, text in _description(found, past, name, labels).items():
                entry = tarfile.TarInfo(path)
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text))
        await self.docker.images.import_image(archive.getvalue())

    async def read(self, path: str, *, params: Mapping[str, str] | None = None, limit: int = 2**20) -> bytes:
        """Make one GET call and give at most ``limit`` bytes of its answer.

        Raises:
            DockerError: the engine refused.
        """
        async with self._open(path, params, aiohttp.ClientTimeout(total=CALL_TIMEOUT, sock_connect=5)) as content:
            answer = bytearray()
            async for chunk in content.iter_any():
                answer += chunk
                if len(answer) >= limit:
                    break
            return bytes(answer[:limit])

    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[dict[str, Any]]:
        """Give the JSON objects of an answer without end, such as events, one a line; it has no deadline.

        Raises:
            DockerError: the engine refused.
        """
        async with self._open(path, params, aiohttp.ClientTimeout(sock_connect=5), method, headers) as content:
            rest = b""
            # Not by readline(): it fails at 128 kB, and events carry the labels of images, which strangers write.
            async for chunk in content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)

    @asynccontextmanager
    async def _open(
        self,
        path: str,
        params: Mapping[str, str] | None,
        deadlines: aiohttp.ClientTimeout,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        # aiodocker's public calls of this kind make a second call, or start a task that nobody owns.
        query = self.docker._query(path, method, params=params, headers=headers, timeout=deadlines)  # noqa: SLF001
        async with query as response:
            try:
                yield response.content
            finally:
                # Releasing would read an answer without end to its end.
                response.close()

    async def ping(self) -> str:
        """Ask the engine for its version: ``Docker 20.10.24``.

        Raises:
            EngineUnavailable: it does not answer.
        """
        with engine_errors():
            self.product, self.version = _identify(await self.docker.version())
        return str(self)

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        await self.docker.close()
        # aiodocker leaves a session open that it was given.
        await self.docker.session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _identify(version: Mapping[str, Any]) -> tuple[str, str]:
    names: Sequence[Mapping[str, Any]] = version.get("Components") or ()
    podman = any("podman" in str(part.get("Name", "")).lower() for part in names)
    return "Podman" if podman else "Docker", str(version["Version"]).partition("+")[0]


def candidate_sockets(environment: Mapping[str, str]) -> list[str]:
    """Give the places where engines usually listen, first choice first: Docker's, then Podman's."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime else []
    return ["/var/run/docker.sock", "/run/podman/podman.sock", *own]


def find_engine(settings: EngineSettings, environment: Mapping[str, str] | None = None) -> str:
    """Give the URL of the engine to use: the setting, then ``DOCKER_HOST``, then the first socket that exists.

    Raises:
        ConfigError: the setting or ``DOCKER_HOST`` cannot be used.
        EngineUnavailable: there is no socket anywhere.
    """
    environment = os.environ if environment is None else environment
    for key, value in (("engine.socket", settings.socket), ("DOCKER_HOST", environment.get("DOCKER_HOST", ""))):
        if value:
            return _engine_url(key, value)
    candidates = candidate_sockets(environment)
    for path in candidates:
        if Path(path).is_socket():
            return f"unix://{path}"
    raise EngineUnavailable(
        f"No container engine listens at {', '.join(candidates)}.",
        hint="Install one ('apt-get install docker.io') or set engine.socket to where it listens.",
    )


def _engine_url(key: str, value: str) -> str:
    if value.startswith("/"):
        return f"unix://{value}"
    if value.startswith(("unix:///", "tcp://", "http://", "https://")):
        return value
    raise ConfigError(f"{key}: {value!r} is neither a path nor a unix://, tcp://, http:// or https:// URL.")


async def open_docker(settings: EngineSettings) -> DockerClient:
    """Find the engine, connect and ask who it is.

    Raises:
        ConfigError: the setting or ``DOCKER_HOST`` cannot be used.
        EngineUnavailable: there is no engine, or it does not answer.
    """
    url = await asyncio.to_thread(find_engine, settings)
    client = DockerClient(_connect(url), socket=url.removeprefix("unix://"), product="Docker", version="")
    try:
        await client.ping()
    except BaseException:
        await client.close()
        raise
    return client


def _connect(url: str) -> aiodocker.Docker:
    # sock_connect: behind a full backlog a dead engine would otherwise hold each call for its whole deadline.
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT, sock_connect=5)
    path = url.removeprefix("unix://")
    if path == url:
        with engine_errors():
            return aiodocker.Docker(url=url, timeout=timeout)
    # No limit on connections: starts that wait for the engine must not hold back the ping behind /health.
    connector = aiohttp.UnixConnector(path, limit=0, keepalive_timeout=60)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout)
    return aiodocker.Docker(url="unix://localhost", connector=connector, session=session, timeout=timeout)


def _description(
    found: Mapping[str, Any], past: Sequence[Mapping[str, Any]], name: str, labels: Mapping[str, str]
) -> dict[str, bytes]:
    """Write the files of an archive of an image without its layers, by the engine's description of another."""
    layers = found["RootFS"]["Layers"]
    config = {
        "architecture": found["Architecture"],
        "os": found["Os"],
        "created": found["Created"],
        "config": found["Config"] | {"Labels": {**(found["Config"].get("Labels") or {}), **labels}},
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    history = [
        {
            "created": datetime.fromtimestamp(each["Created"], UTC).isoformat(),
            "created_by": each["CreatedBy"],
            "comment": each["Comment"],
            "empty_layer": not each["Size"],
        }
        for each in reversed(past)
    ]
    # A layer of no bytes cannot be told from none: without a history all is well, with a wrong one it is not.
    if len(layers) == sum(not each["empty_layer"] for each in history):
        config["history"] = history
    text = json.dumps(config).encode()
    own = f"{hashlib.sha256(text).hexdigest()}.json"
    entry = {"Config": own, "RepoTags": [name], "Layers": [f"{number}/layer.tar" for number in range(len(layers))]}
    return {own: text, "manifest.json": json.dumps([entry]).encode()}
