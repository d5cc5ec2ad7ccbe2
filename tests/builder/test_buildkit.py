"""Building on the real engine, with a small base image."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.diagnose import FROM_SOURCE
from binderlet.builder.environments import key_of
from binderlet.builder.job import Job, Outcome
from binderlet.builder.keys import job_key
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.steps import NO_LIMITS
from binderlet.config.schema import BuilderSettings
from binderlet.errors import BuildFailed, BuildTimeout, RegistryUnreachable
from binderlet.model import Image
from support.tiny_base import TinyBase, docker
from support.workshop import NETWORK, Workshop

GOOD = Outcome(0, "exited", "")
pytestmark = pytest.mark.docker


def write(workshop: Workshop, files: dict[str, str], *, executable: tuple[str, ...] = ()) -> None:
    """Put files into the checkout."""
    for name, text in files.items():
        path = workshop.checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name in executable else 0o644)


async def test_files_survive(workshop: Workshop) -> None:
    """Odd names, modes, links, empty folders and .git come through, and belong to the user."""
    names = ['it\'s "odd" é.txt', "sp ace/$x;y.txt", ".git/HEAD", "-n", ".hidden/x"]
    write(workshop, dict.fromkeys([*names, "run.sh"], "text"), executable=("run.sh",))
    (workshop.checkout / "empty").mkdir()
    (workshop.checkout / "link").symlink_to("sp ace")
    (workshop.checkout / "dangling").symlink_to("/no/where")
    image = await workshop.build()
    script = (
        "import os,sys\n"
        "for name in sys.argv[1:]: assert open(name).read() == 'text' and os.stat(name).st_uid == 1000, name\n"
        "assert os.access('run.sh', os.X_OK) and not os.access('-n', os.X_OK)\n"
        "assert os.listdir('empty') == []\n"
        "assert os.readlink('link') == 'sp ace' and os.readlink('dangling') == '/no/where'\n"
        "open('empty/new', 'w').close()\n"
        "print(os.getcwd(), os.getuid())\n"
    )
    assert await workshop.run(image, "python", "-c", script, *names) == "/home/jovyan 1000\n"


async def test_image_says_what_it_is(workshop: Workshop) -> None:
    """Labels, port and entry point are repo2docker's; nothing of this machine is in the image."""
    image = await workshop.build()
    text = await asyncio.to_thread(docker, workshop.tools.program, "image", "inspect", image.name)
    history = await asyncio.to_thread(docker, workshop.tools.program, "history", "--no-trunc", image.name)
    for word in (
        '"repo2docker.repo": "https://github.test/owner/repo"',
        '"repo2docker.ref": "1479e0252b2e648bb755ee913292b79495931717"',
        '"8888/tcp"',
        "/usr/local/bin/binderlet-entrypoint",
    ):
        assert word in text
    assert str(workshop.folder) not in text + history
    assert NETWORK.ca_bundle is None or str(NETWORK.ca_bundle) not in text + history


@pytest.mark.timeout(60)  # it reaches for a package index
async def test_content_alone_runs_no_installer(workshop: Workshop) -> None:
    """A commit that changes only a notebook is added to the environment that is there."""
    write(workshop, {"requirements.txt": "iniconfig==2.0.0\n", "a.ipynb": "1"})
    await workshop.build()
    assert "iniconfig==2.0.0" in await workshop.read()
    write(workshop, {"a.ipynb": "2"})
    log = workshop.log("second")
    image = await workshop.build(log)
    assert await workshop.builder.build(replace(workshop.request(), image=image.name), log) == image
    text = await workshop.read(log)
    assert "has been built before" in text
    assert "Using Python" not in text
    assert await workshop.run(image, "python", "-c", "import iniconfig; print(open('a.ipynb').read())") == "2\n"


async def test_environment_removed_meanwhile(workshop: Workshop) -> None:
    """An environment that somebody removed from the engine is built again."""
    store, real = workshop.store, workshop.store.find
    write(workshop, {"requirements.txt": "# nothing but this comment\n", "x": "1"})
    asked: list[str] = []

    async def find(name: str) -> object:
        asked.append(name)
        if name.startswith("binderlet/env") and asked.count(name) == 1:
            return await real(workshop.bases.base.name)  # remembered, though it is gone
        return await real(name)

    builder = workshop.another(base=replace(workshop.bases.base, id=f"sha256:{secrets.token_hex(32)}"))
    builder._images = AsyncMock(wraps=store, find=find)
    assert (await builder.build(workshop.request(), workshop.log())).id
    assert "was removed meanwhile" in await workshop.read()


async def test_post_build_and_start(workshop: Workshop) -> None:
    """PostBuild runs as the user in the repository and can reach the network settings; start is what sessions run."""
    write(
        workshop,
        {
            "binder/postBuild": "#!/bin/bash\nset -e\nid -u > who\necho made in $PWD > made\n",
            "binder/start": '#!/bin/bash\nexport ADDED=1\nexec "$@"\n',
        },
    )
    image = await workshop.build()
    assert await workshop.run(image, "cat", "who", "made") == "1000\nmade in /home/jovyan\n"
    text = await asyncio.to_thread(docker, workshop.tools.program, "image", "inspect", image.name)
    assert "R2D_ENTRYPOINT=/home/jovyan/binder/start" in text
    assert (await workshop.run(image, "/home/jovyan/binder/start", "env")).count("ADDED=1") == 1


@pytest.mark.timeout(60)  # it reaches for a package index
async def test_local_package_and_latin_1(workshop: Workshop) -> None:
    """Lines that name the repository are installed on top; a file in Latin-1 is read."""
    (workshop.checkout / "requirements.txt").write_bytes(b"# caf\xe9\niniconfig==2.0.0\n-e .\n")
    write(
        workshop,
        {
            "pyproject.toml": "[project]\nname='own'\nversion='1'\ndescription='Own.'\n"
            "[build-system]\nrequires=['flit_core']\nbuild-backend='flit_core.buildapi'\n",
            "own/__init__.py": "'''Own.'''\n__version__ = '1'\n",
        },
    )
    image = await workshop.build()
    text = await workshop.read()
    assert "requirements.txt is not UTF-8" in text
    assert await workshop.run(image, "python", "-c", "import own, iniconfig; print(own.__file__)") == (
        "/home/jovyan/own/__init__.py\n"
    )


@pytest.mark.timeout(60)  # it reaches for a package index
async def test_the_repository_is_a_package(workshop: Workshop) -> None:
    """What it depends on is installed before its files are there, itself afterwards, and not in place."""
    project = "[project]\nname='own'\nversion='1'\ndescription='Own.'\ndependencies=['iniconfig==2.0.0']\n"
    system = "[build-system]\nrequires=['flit_core']\nbuild-backend='flit_core.buildapi'\n"
    write(workshop, {"pyproject.toml": project + system, "own/__init__.py": "changed = 0\n"})
    image = await workshop.build()
    found = await workshop.run(image, "python", "-I", "-c", "import own, iniconfig; print(own.__file__)")
    assert found.endswith("site-packages/own/__init__.py\n")
    write(workshop, {"own/__init__.py": "changed = 1\n"})
    again = await workshop.build(workshop.log("second"))
    assert "has been built before" in await workshop.read(workshop.log("second"))
    assert await workshop.run(again, "python", "-I", "-c", "import own; print(own.changed)") == "1\n"


@pytest.mark.timeout(60)  # it reaches for a package index
async def test_a_lock_of_pipenv(workshop: Workshop) -> None:
    """The lock's pins and hashes are installed without pipenv."""
    digest = "sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"
    lock = {"default": {"iniconfig": {"version": "==2.0.0", "hashes": [digest]}}}
    write(workshop, {"Pipfile": "", "Pipfile.lock": json.dumps(lock), "requirements.txt": "none-such==1\n"})
    image = await workshop.build()
    assert await workshop.run(image, "python", "-c", "import iniconfig; print(iniconfig.__name__)") == "iniconfig\n"


@pytest.mark.timeout(60)  # it reaches for a package index
async def test_unreachable_index(workshop: Workshop) -> None:
    """An index that does not answer is named, and no other way is tried."""
    write(workshop, {"requirements.txt": "--index-url http://index.invalid/simple\nnumpy\n"})
    with pytest.raises(RegistryUnreachable, match=r"^index\.invalid cannot be reached") as caught:
        await workshop.build()
    assert "network.index_url" in caught.value.hint
    assert FROM_SOURCE not in await workshop.read()


async def test_failing_post_build(workshop: Workshop) -> None:
    """A script that fails fails the build, with its words in the log."""
    write(workshop, {"postBuild": "#!/bin/bash\necho it went wrong\nexit 7\n"})
    with pytest.raises(BuildFailed, match="postBuild"):
        await workshop.build()
    assert "it went wrong" in await workshop.read()


@pytest.mark.timeout(60)  # real seconds on a busy machine
async def test_hanging_build(workshop: Workshop) -> None:
    """At its deadline a build is ended, and nothing of it runs on in the engine."""
    write(workshop, {"postBuild": "#!/bin/bash\nsleep 31.4159\n"})
    builder = workshop.another(BuilderSettings(timeout=3))
    with pytest.raises(BuildTimeout, match="longer than 3s"):
        await builder.build(workshop.request(), workshop.log())
    for _ in range(100):
        if not await _runs("sleep 31.4159"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the build's process runs on")


async def _runs(command: str) -> bool:
    process = await asyncio.create_subprocess_exec("pgrep", "-xf", command, stdout=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0


@pytest.mark.timeout(60)  # real seconds on a busy machine
async def test_noisy_build(workshop: Workshop) -> None:
    """A build that prints 100 MB ends well, and its log stays small."""
    write(workshop, {"postBuild": "#!/bin/bash\nyes abcdefghijklmnopqrstuvwxyz | head -c 100000000\necho; echo done\n"})
    await workshop.another(BuilderSettings(log_limit=1024**2)).build(workshop.request(), workshop.log())
    assert len(await workshop.read()) < 2 * 1024**2


async def test_cancelled_build(workshop: Workshop) -> None:
    """A cancelled build ends at once and leaves no job."""
    write(workshop, {"postBuild": "#!/bin/bash\nsleep 27.1828\n"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(workshop.build(), 3)
    assert not list((workshop.folder / "state/jobs").iterdir())


@pytest.mark.timeout(60)  # real seconds on a busy machine
async def test_build_survives_its_control_plane(workshop: Workshop) -> None:
    """After a kill -9 the next process follows the build that runs, and the log has each line once."""
    write(workshop, {"postBuild": "#!/bin/bash\necho begins $RANDOM$RANDOM\nsleep 3\necho ends\n"})
    request = workshop.request()
    job = Job(workshop.folder / "state/jobs" / job_key(request.image))
    program = f"""
        import asyncio
        from pathlib import Path
        from support.tiny_base import CliStore, TinyBase, TinyBases
        from support.values import COMMIT
        from support.workshop import make_builder
        from binderlet.builder.base import BuildRequest
        from binderlet.builder.toolchain import Toolchain
        from binderlet.config.schema import BuilderSettings
        from binderlet.events.buildlog import BuildLog
        async def main():
            folder = Path({str(workshop.folder)!r})
            bases = TinyBases({workshop.bases.base!r})
            store = CliStore({workshop.tools.program!r})
            builder = make_builder(BuilderSettings(), {workshop.tools!r}, bases, store, folder / "state")
            request = BuildRequest(COMMIT, folder / "checkout", {request.image!r})
            await builder.build(request, BuildLog(folder / "log"))
        asyncio.run(main())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(program), env=environment)
    async with asyncio.timeout(15):
        while not await asyncio.to_thread(_has, workshop.folder / "log", "begins"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    assert await asyncio.to_thread(job.is_running)
    await workshop.another().build(request, workshop.log())
    text = await workshop.read()
    assert len(re.findall(r"^begins \d+$", text, re.MULTILINE)) == 1
    assert text.count("ends\n") == 1
    assert "was running already" in text


def _has(path: Path, word: str) -> bool:
    return path.exists() and word in path.read_text()


async def test_info(workshop: Workshop) -> None:
    """What /versions reports names the tool, and the base image once it is known."""
    assert "build_image" not in workshop.builder.info
    await workshop.builder.prepare(workshop.log())
    assert workshop.builder.info["build_image"] == workshop.bases.base.name
    assert workshop.tools.version in workshop.builder.info["tool"]


async def test_image_that_does_not_appear(workshop: Workshop) -> None:
    """A build that ends well without an image is a failed build."""
    store = AsyncMock(find=AsyncMock(return_value=None))
    builder = workshop.another()
    builder._images = store
    good = AsyncMock(return_value=GOOD)
    builder._layers = AsyncMock(environment=good, content=good, facts=lambda *_: {})
    with pytest.raises(BuildFailed, match="does not have its image"):
        await builder.build(workshop.request(), workshop.log())


def scripted(workshop: Workshop, *here: str) -> tuple[BuildKitBuilder, AsyncMock]:
    """Give a builder whose runs end well and make nothing; images whose names begin with one of these are here."""
    good = AsyncMock(return_value=GOOD)
    builder = workshop.another()
    layers = AsyncMock(environment=good, content=AsyncMock(return_value=GOOD), dockerfile=AsyncMock(return_value=GOOD))
    layers.facts = lambda *_: {}
    layers.proxies = lambda *_: {}
    layers.limits = NO_LIMITS
    builder._layers = layers
    builder.together._label = None
    images = AsyncMock()
    images.find.side_effect = lambda name: Image(name, "sha256:1") if name.startswith(here) else None
    builder._images = images
    return builder, layers


async def test_an_environment_on_an_old_base(workshop: Workshop) -> None:
    """Until there is another it is used, but not by a refresh."""
    write(workshop, {"requirements.txt": "x\n"})
    builder, layers = scripted(workshop, "binderlet/env:old")
    request = workshop.request()
    key = key_of(Plan(Kind.PYTHON), "sha256:0", [])
    with pytest.raises(BuildFailed):  # it is built, but not found
        await builder.build(request, workshop.log())
    (made,) = await builder.environments.listed()
    await builder.environments.forget(made.key)
    await builder.environments.use(replace(made, key=f"old{key}"))
    layers.environment.reset_mock()
    with pytest.raises(BuildFailed):
        await builder.build(request, workshop.log("second"))
    layers.environment.assert_not_awaited()
    assert "the environment on the old one is used" in await workshop.read(workshop.log("second"))
    with pytest.raises(BuildFailed):
        await builder.build(replace(request, refresh=True), workshop.log("third"))
    layers.environment.assert_awaited_once()
    await builder.close()


async def test_an_environment_from_elsewhere(workshop: Workshop) -> None:
    """What a registry has is not built."""
    write(workshop, {"requirements.txt": "x\n"})
    builder, layers = scripted(workshop)
    builder._bring = AsyncMock(return_value=True)
    with pytest.raises(BuildFailed):
        await builder.build(workshop.request(), workshop.log())
    layers.environment.assert_not_awaited()
    layers.content.assert_awaited_once()
    await builder.close()


@pytest.mark.parametrize("name", ["Dockerfile", "default.nix"])
async def test_other_ways(workshop: Workshop, name: str) -> None:
    """A Dockerfile is built as it is, and repo2docker builds what it alone knows."""
    write(workshop, {name: "FROM x\n"})
    builder, layers = scripted(workshop)
    builder._repo2docker = AsyncMock(build=AsyncMock(return_value=GOOD))
    with pytest.raises(BuildFailed, match="does not have its image"):
        await builder.build(workshop.request(), workshop.log())
    assert (layers.dockerfile.await_count, builder._repo2docker.build.await_count) == (
        (1, 0) if name == "Dockerfile" else (0, 1)
    )
    await builder.close()


def test_outdated(workshop: Workshop) -> None:
    """An image that we made stands on a base; it is asked whether that is the newest."""
    builder, _ = scripted(workshop)
    labels = {"binderlet.image": "content", "binderlet.environment": "k", "binderlet.python": TinyBase.python}
    assert builder.is_outdated(Image("x", "sha256:1", labels=labels | {"binderlet.base": "sha256:other"}))
    assert not builder.is_outdated(Image("x", "sha256:1", labels=labels | {"binderlet.base": workshop.bases.base.id}))
    assert not builder.is_outdated(Image("x", "sha256:1", labels={"binderlet.image": "repo2docker"}))
