"""Building environment.yml on the real engine, with packages from a channel of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from binderlet.builder import lock
from binderlet.builder.buildkit import BuildKitBuilder
from binderlet.builder.locks import read_lock_file
from binderlet.errors import BadRepository, RegistryUnreachable
from support.conda_channel import PYTHON, Served
from support.tiny_base import docker
from support.workshop import NETWORK, Workshop

pytestmark = [pytest.mark.docker, pytest.mark.timeout(90)]  # the linking program comes from a package index

ENVIRONMENT = f"""\
name: course
channels:
  - ours
dependencies:
  - python={PYTHON}
  - toy=1.0=py_1
  - gear
  - pip:
    - iniconfig==2.0.0
prefix: /home/me/conda
variables:
  LEVEL: 'three "$HOME"'
"""
LOOK = """
. /etc/profile.d/binderlet-conda.sh
echo $LEVEL $GEAR_HOME $CONDA_PREFIX
toy-run
cat $CONDA_PREFIX/share/toy.txt
python -c 'import sys, iniconfig, jupyterlab; print(sys.prefix, "%d.%d" % sys.version_info[:2])'
ls $CONDA_PREFIX/lib/python*/site-packages/__pycache__ | head -n 1
id -u
cat a.ipynb
"""


@pytest.fixture
async def builder(workshop: Workshop, channels: Served) -> AsyncIterator[BuildKitBuilder]:
    """A builder whose conda mirror is the channel's server."""
    made = BuildKitBuilder(
        workshop.settings,
        replace(NETWORK, conda_mirror=channels.url),
        toolchain=workshop.tools,
        base=workshop.bases,
        images=workshop.store,
        state=workshop.folder / "state",
    )
    yield made
    await made.close()


def write(workshop: Workshop, **files: str) -> None:
    """Put files into the checkout; ``_`` stands for a dot."""
    for name, text in files.items():
        (workshop.checkout / name.replace("_", ".")).write_text(text)


async def test_environment(workshop: Workshop, builder: BuildKitBuilder, channels: Served) -> None:
    """Pins, build strings, pip's packages, entry points, activation and variables come; content installs nothing."""
    write(workshop, environment_yml=ENVIRONMENT, a_ipynb="1\n")
    image = await builder.build(workshop.request(), workshop.log())
    shown = await workshop.run(image, "bash", "-c", LOOK)
    prefix = "/srv/conda/envs/notebook"
    environment, toy, placed, python, compiled, *rest = shown.splitlines()
    assert environment == f'three "$HOME" {prefix}/gear {prefix}'
    assert toy == "toy 1.0 py_1"
    assert placed == f"{prefix}/share/toy.txt"
    assert python == f"{prefix} {PYTHON}"
    assert compiled.endswith(".pyc")
    assert rest == ["1000", "1"]
    asked = len(channels.requests)
    write(workshop, a_ipynb="2\n", environment_yml="# the same\n" + ENVIRONMENT.replace("course", "other"))
    log = workshop.log("second")
    again = await builder.build(workshop.request(), log)
    assert (await workshop.run(again, "cat", "a.ipynb")) == "2\n"
    text = await workshop.read(log)
    assert "has been built before" in text
    assert "Solving" not in text
    assert len(channels.requests) == asked


async def test_address_of_the_mirror_stays_here(workshop: Workshop, builder: BuildKitBuilder, channels: Served) -> None:
    """The image says where packages came from, without the mirror's password; the log does not have it either."""
    made = BuildKitBuilder(
        workshop.settings,
        replace(NETWORK, conda_mirror=channels.url.replace("//", "//user:se-cret@")),
        toolchain=workshop.tools,
        base=workshop.bases,
        images=workshop.store,
        state=workshop.folder / "state",
    )
    write(workshop, environment_yml="channels: [ours]\ndependencies: [toy]\n")
    image = await made.build(workshop.request(), workshop.log())
    script = "import glob; print([open(p).read() for p in glob.glob('/srv/conda/envs/notebook/conda-meta/*')])"
    inside = await workshop.run(image, "python", "-c", script)
    history = await asyncio.to_thread(docker, workshop.tools.program, "history", "--no-trunc", image.name)
    assert f"{channels.url}/ours/noarch/toy-2.0-py_0" in inside
    assert "se-cret" not in inside + history + await workshop.read()
    await made.close()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("channels: [ours]\ndependencies: [toy=9]\n", BadRepository, "environment.yml cannot be installed: .*toy"),
        ("channels: [nowhere]\ndependencies: [toy]\n", RegistryUnreachable, "The conda channel nowhere does not exist"),
        ("dependencies:\n  - a\n - b\n", BadRepository, "environment.yml, line 3: this is not YAML"),
        ("dependencies: [toy, {pip: ['a b']}]", BadRepository, r"environment.yml \(pip\), line 1: 'a b' is not"),
        ("dependencies: [toy, {pip: [-r x.txt]}]", BadRepository, r"\(pip\) includes x.txt, which is not in"),
        ("channels: ['http://127.0.0.1:1/c']\ndependencies: [toy]", BadRepository, "own network"),
    ],
)
async def test_wrong(
    workshop: Workshop, builder: BuildKitBuilder, text: str, error: type[Exception], message: str
) -> None:
    """What is wrong is told before anything is built."""
    write(workshop, environment_yml=text)
    with pytest.raises(error, match=message):
        await builder.build(workshop.request(), workshop.log())
    assert "Traceback" not in await workshop.read()


async def test_pip_alone_needs_no_channel(workshop: Workshop, builder: BuildKitBuilder, channels: Served) -> None:
    """A file with nothing but pip's packages is built on the base image's Python, and no channel is asked."""
    asked = len(channels.requests)
    write(workshop, environment_yml="dependencies: [python, pip, {pip: [iniconfig==2.0.0]}]\n")
    image = await builder.build(workshop.request(), workshop.log())
    assert "base image" in await workshop.read()
    assert await workshop.run(image, "python", "-c", "import iniconfig") == ""
    assert len(channels.requests) == asked


async def test_locked(workshop: Workshop, builder: BuildKitBuilder, channels: Served) -> None:
    """From its lock an environment gets the same conda and Python packages again, and nothing is solved."""
    write(workshop, environment_yml=ENVIRONMENT)
    first = await builder.build(workshop.request(), workshop.log())
    body = lock.read(await read_lock_file(workshop.tools, first.name), "lock")
    assert len(body["conda"]) > 5
    write(workshop, environment_yml="channels: [ours]\ndependencies: [python, toy]\n")
    second = await builder.build(replace(workshop.request(), lock=body), workshop.log("second"))
    again = lock.read(await read_lock_file(workshop.tools, second.name), "lock")
    assert (again["conda"], again["python_packages"]) == (body["conda"], body["python_packages"])
    text = await workshop.read(workshop.log("second"))
    assert "Taking the conda packages that the lock names" in text
    assert "Solving" not in text
