"""How a repository's files get into a builder pod: a tar archive, packed by the control plane, unpacked in the pod."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

from binderlet.builder.cluster.messages import PIECE
from binderlet.errors import EngineUnavailable

LAST_WORDS = 500
"""Characters of tar's own words that an error has."""


async def pack(
    folder: Path, put: Callable[[bytes], Awaitable[None]], *, program: str = "tar"
) -> EngineUnavailable | None:
    """Give a folder as a tar archive to ``put``, piece by piece; tells why where the archive is not whole.

    Whatever ``put`` raises is raised.
    """
    arguments = ("--create", "--numeric-owner", "--sort=name", "--directory", str(folder), ".")
    with await asyncio.to_thread(tempfile.TemporaryFile) as said:
        try:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=said
            )
        except OSError as error:
            return EngineUnavailable(
                f"The repository's files cannot be sent to a builder pod: tar does not start here ({error.strerror}).",
                hint="Install tar on the machine, or in the image, of the control plane.",
            )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            while piece := await process.stdout.read(PIECE):
                await put(piece)
            code = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.stdout.read()  # or its end would never be told
                await process.wait()
        if not code:
            return None
        return EngineUnavailable(
            f"The repository's files could not be sent to a builder pod: {await asyncio.to_thread(_words, said)}",
            hint="The control plane's disk, or its rights in paths.state, may be the cause. Launch again to try.",
        )


async def unpack(read: Callable[[], Awaitable[bytes]], folder: Path, pod: str, *, program: str = "tar") -> None:
    """Write the files of an archive into a folder; ``read`` gives its pieces, and nothing at its end.

    No piece at all is no file.

    Raises:
        EngineUnavailable: the pod has no tar, or not all arrived, or not all could be written.
    """
    if not (piece := await read()):
        return
    with await asyncio.to_thread(tempfile.TemporaryFile) as said:
        try:
            process = await asyncio.create_subprocess_exec(
                *(program, "--extract", "--no-same-owner", "--directory", str(folder)),
                stdin=asyncio.subprocess.PIPE,
                stderr=said,
            )
        except OSError as error:
            raise EngineUnavailable(
                f"The repository's files cannot be unpacked in builder pod {pod}: no tar starts ({error.strerror}).",
                hint="Make the builder image anew with 'binderlet builder-image', and upgrade the chart with it.",
            ) from error
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            with contextlib.suppress(ConnectionError):  # tar says why it ended
                while piece:
                    process.stdin.write(piece)
                    await process.stdin.drain()
                    piece = await read()
        finally:
            process.stdin.close()
            code = await process.wait()
            with contextlib.suppress(ConnectionError):  # known already; but not asked for it would be logged later
                await process.stdin.wait_closed()
        if code:
            raise EngineUnavailable(
                f"The repository's files did not arrive whole in builder pod {pod}: "
                f"{await asyncio.to_thread(_words, said)}",
                hint="Launch again to try. If it is the pod's disk, raise builders.cache.size, or delete the pod.",
            )


def _words(said: IO[bytes]) -> str:
    said.seek(0)
    text = said.read().decode("utf-8", "replace")
    return " ".join(text.split())[-LAST_WORDS:] or "tar did not say why."
