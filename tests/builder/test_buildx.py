"""Building through ``docker buildx``, with its calls on record: Debian does not have the plugin.

The program that stands for it takes the calls of a Docker whose command line needs buildx, writes them down, refuses
what buildx would not know, and lets the older command line do them, which speaks to the same BuildKit.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder.toolchain import Toolchain, choose_toolchain
from binderlet.errors import RegistryUnreachable
from support.workshop import Workshop, make_builder

pytestmark = [pytest.mark.docker, pytest.mark.timeout(90)]
SHIM = """#!/bin/bash
echo "$*" >> {calls}
case "$1 $2" in
  "--version ") echo "Docker version 28.2.2, build e6534b4" ;;
  "buildx version") echo "github.com/docker/buildx v0.24.0 d0e5e86" ;;
  "buildx build")
    shift 2
    [ "$1 $2" = "--builder default" ] || {{ echo "no builder {{$1}}" >&2; exit 9; }}
    shift 2
    if [ "$1" = --load ]; then shift; else [[ " $* " = *" --output "* ]] || exit 9; fi
    DOCKER_BUILDKIT=1 exec {docker} build "$@" ;;
  build*) echo "ERROR: BuildKit is enabled but the buildx component is missing or broken." >&2; exit 1 ;;
  *) exec {docker} "$@" ;;
esac
"""


@pytest.fixture
def shim(tools: Toolchain, tmp_path: Path) -> Path:
    """The program; its calls are in ``calls`` beside it."""
    path = tmp_path / "bin" / "docker"
    path.parent.mkdir()
    path.write_text(SHIM.format(calls=path.with_name("calls"), docker=tools.program))
    path.chmod(0o755)
    return path


@pytest.fixture
async def newer(shim: Path, workshop: Workshop) -> AsyncIterator[Workshop]:
    """A builder whose build tool is the one that is found on such a machine."""
    chosen = await choose_toolchain(path=str(shim.parent))
    assert (chosen.kind, chosen.program) == ("buildx", str(shim))
    state = workshop.folder / "newer"
    builder = make_builder(workshop.settings, chosen, workshop.bases, workshop.store, state)
    yield replace(workshop, builder=builder, tools=chosen)
    await builder.close()


async def test_a_repository(newer: Workshop, shim: Path) -> None:
    """Environment and content get secrets, a cache apart and a place in the store; compiling makes no image."""
    # A remark behind a requirement is part of the key: this environment is not there from another test.
    (newer.checkout / "requirements.txt").write_text(f"iniconfig==2.0.0 # {secrets.token_hex(6)}\n")
    (newer.checkout / "postBuild").write_text("#!/bin/bash\npython -c 'import iniconfig' && touch built\n")
    image = await newer.build()
    await newer.builder.bytecode.wait()
    assert await newer.run(image, "ls", "built") == "built\n"
    calls = shim.with_name("calls").read_text().splitlines()
    made = [call for call in calls if call.startswith("buildx build")]
    # Compiling begins seconds after the environment is there, whatever the content takes.
    builds, compiling = ([call for call in made if ("--output" in call) is whether] for whether in (False, True))
    assert compiling
    assert not any("--load" in call for call in compiling)
    assert len(builds) == 2
    for call in builds:
        assert call.startswith("buildx build --builder default --load --progress plain ")
        assert "--secret id=binderlet-environment,src=" in call
        assert "--build-arg BUILDKIT_CACHE_MOUNT_NS=" in call
    text = await newer.read()
    assert "iniconfig" in text


async def test_a_dockerfile_and_a_failure(newer: Workshop) -> None:
    """A Dockerfile's steps are shown, and what fails is told in its own words, as with the older command line."""
    (newer.checkout / "Dockerfile").write_text(f"FROM {newer.bases.base.name}\nRUN echo made > /tmp/made\n")
    image = await newer.build()
    assert await newer.run(image, "cat", "/tmp/made") == "made\n"  # noqa: S108 - in the image
    assert "RUN echo made" in await newer.read()
    (newer.checkout / "Dockerfile").write_text("FROM 127.0.0.1:9/none/such:1\n")
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1:9"):
        await newer.build(newer.log("second"))
