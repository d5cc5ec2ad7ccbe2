"""Repositories that are wrong: each is refused in words that name the file and, where there is one, the line."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from binderlet.builder.detect import detect
from binderlet.builder.diagnose import FROM_SOURCE
from binderlet.builder.keys import environment_key
from binderlet.builder.plan import Kind, Plan, make_plan
from binderlet.errors import BadRepository, BuildFailed, RegistryUnreachable
from support.wheels import write_wheel
from support.workshop import Workshop

MANY = 5000


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a repository's files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def planned(folder: Path, files: dict[str, str]) -> Plan:
    """Plan a repository."""
    write(folder, files)
    return make_plan(detect(folder), "3.11")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("requirements.txt", "numpy\nnumpy=1.0\n", r"requirements\.txt, line 2: .*two equals signs"),
        ("requirements.txt", "numpy\n\n-r\n", r"requirements\.txt, line 3: .*names no file"),
        ("apt.txt", "curl\nvim && true\n", r"apt\.txt, line 2: '&&'"),
        ("runtime.txt", "3.11\n", r"runtime\.txt, line 1: "),
        ("environment.yml", "dependencies:\n  - numpy\n - pandas\n", r"environment\.yml, line 3"),
        ("pyproject.toml", "[project]\nname = \n", r"pyproject\.toml, line 2, is not valid TOML"),
        ("Project.toml", "[deps]\nCSV = \n", r"Project\.toml, line 2, is not valid TOML"),
        ("Pipfile", "[packages]\nnumpy = \n", r"Pipfile, line 2, is not valid TOML"),
        ("Pipfile.lock", '{\n "default": \n}', r"Pipfile\.lock, line 3"),
        ("postBuild", "#!/bin/bash\r\n", r"postBuild, line 1: .*Windows line ends"),
        ("start", "#!/bin/bash\r\n", r"start, line 1: .*Windows line ends"),
    ],
)
def test_syntax_errors(tmp_path: Path, name: str, text: str, words: str) -> None:
    """A file that cannot be read is named, with the line."""
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(BadRepository, match=words):
        make_plan(detect(tmp_path), "3.11")


@pytest.mark.parametrize("files", [{}, {"analysis.ipynb": "{}", "data.csv": "1\n"}])
def test_nothing_but_notebooks(tmp_path: Path, files: dict[str, str]) -> None:
    """A repository without environment files gets the default, and the log says which."""
    plan = planned(tmp_path, files)
    assert plan.kind is Kind.PYTHON
    assert "default Python environment" in plan.reasons[0]


@pytest.mark.parametrize("name", ["Pipfile", "environment.yml", "Dockerfile"])
def test_wrong_files_that_do_not_count(tmp_path: Path, name: str) -> None:
    """A requirement file that counts for nothing may be wrong, and include what is not there."""
    text = "FROM x\n" if name == "Dockerfile" else ""
    assert planned(tmp_path, {name: text, "requirements.txt": "a b c\n-r none.txt\n"}).requirements == {}


def test_very_many_requirements(tmp_path: Path) -> None:
    """Thousands of requirements are planned and named at once."""
    plan = planned(tmp_path, {"requirements.txt": "".join(f"package-{number}==1.0\n" for number in range(MANY))})
    assert f"requirements.txt: {MANY} Python requirements." in plan.reasons
    key = environment_key(base_id="b", platform="p", apt=(), requirements=plan.requirements, main="requirements.txt")
    assert len(key) == 32


@pytest.mark.docker
@pytest.mark.timeout(180)
async def test_very_many_requirements_for_real(workshop: Workshop) -> None:
    """A thousand packages, whose names fill many pages, are installed; from a folder, as an index would be slow."""

    def make() -> None:
        wheels = workshop.checkout / "wheels"
        wheels.mkdir()
        names = [f"many-{number}-{'x' * 60}" for number in range(MANY // 5)]
        for name in names:
            write_wheel(wheels, name)
        lines = ["--no-index", "--find-links wheels", *names]
        (workshop.checkout / "requirements.txt").write_text("\n".join(lines))

    await asyncio.to_thread(make)
    image = await workshop.build()
    assert f"requirements.txt: {MANY // 5} Python requirements." in await workshop.read()
    code = "from importlib.metadata import distributions; print(sum(1 for _ in distributions()))"
    assert int(await workshop.run(image, "python", "-c", code)) >= MANY // 5


@pytest.mark.docker
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("requirements", "message", "advice"),
    [
        (
            "iniconfig==99\n",
            "cannot be installed: .*iniconfig==99",
            "it cannot be installed on any Python here, either",
        ),
        (
            "regex==2020.11.13\n",  # has wheels up to Python 3.9, and needs a compiler on others
            "building the package regex failed",
            "ready-made for Python 3.9, write one line into runtime.txt: python-3.9-2021-02-03",
        ),
    ],
)
async def test_impossible_requirement_of_an_old_commit(
    workshop: Workshop, requirements: str, message: str, advice: str
) -> None:
    """The resolver's words are the message, and the log offers the commit's own date where that would help."""

    def commit() -> None:
        write(workshop.checkout, {"requirements.txt": requirements})
        variables = {"GIT_COMMITTER_DATE": "2021-02-03T12:00:00Z", "PATH": "/usr/bin:/bin"}
        git = ["git", "-C", str(workshop.checkout), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run([*git, *arguments], env=variables, check=True)

    await asyncio.to_thread(commit)
    workshop.bases.by_python["3.9"] = workshop.bases.base
    log = workshop.log()
    with pytest.raises(BuildFailed, match=message):
        await workshop.build(log)
    text = await workshop.read(log)
    assert advice in text
    assert FROM_SOURCE in text


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_package_that_needs_a_compiler(workshop: Workshop) -> None:
    """A package whose building fails, here for want of a compiler, is named; its own words are in the log."""
    setup = "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('own', ['own.c'])])\n"
    project = "[project]\nname='own'\nversion='1'\n[build-system]\nrequires=['setuptools']\n"
    files = {"requirements.txt": "./own\n", "own/setup.py": setup, "own/pyproject.toml": project, "own/own.c": ""}
    await asyncio.to_thread(write, workshop.checkout, files)
    with pytest.raises(BuildFailed, match="building the package own failed"):
        await workshop.build()
    assert "gcc" in await workshop.read() or "cc" in await workshop.read()


@pytest.mark.docker
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/bash\nread -p 'Continue? ' answer || { echo nobody answers; exit 3; }\n", "nobody answers"),
        ("#!/bin/bash\necho hello > /dev/tcp/127.0.0.1/9\n", "Connection refused"),
    ],
)
async def test_post_build_that_asks(workshop: Workshop, script: str, words: str) -> None:
    """A script that asks a person or a server that is not there fails with its own words, and does not hang."""
    await asyncio.to_thread(write, workshop.checkout, {"postBuild": script})
    with pytest.raises(BuildFailed):
        await workshop.build()
    assert words in await workshop.read()


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_post_build_that_needs_the_network(workshop: Workshop) -> None:
    """A script reaches the package index that the service is set to, with its certificates."""
    script = "#!/bin/bash\nset -e\nuv pip install --no-cache --target /tmp/own iniconfig==2.0.0\n"
    await asyncio.to_thread(write, workshop.checkout, {"postBuild": script})
    image = await workshop.build()
    assert "__init__.py" in await workshop.run(image, "ls", "/tmp/own/iniconfig")  # noqa: S108 - in the image


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_post_build_that_reads_without_end(workshop: Workshop) -> None:
    """Whoever asks for input gets an end of file at once, and may go on without."""
    script = "#!/bin/bash\ncat > answer\nread line || echo no answer >> answer\n"
    await asyncio.to_thread(write, workshop.checkout, {"postBuild": script})
    assert await workshop.run(await workshop.build(), "cat", "answer") == "no answer\n"


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_dockerfile_without_user(workshop: Workshop) -> None:
    """A Dockerfile that stays root is built; sessions are jovyan all the same, whatever an image says."""
    name = workshop.bases.base.name
    await asyncio.to_thread(write, workshop.checkout, {"Dockerfile": f"FROM {name}\nUSER root\nRUN id -u > /who\n"})
    image = await workshop.build()
    assert (await workshop.run(image, "cat", "/who")).strip() == "0"


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_dockerfile_on_an_image_with_onbuild(workshop: Workshop) -> None:
    """What an image wants done in those built on it is done."""
    name = workshop.bases.base.name
    await asyncio.to_thread(write, workshop.checkout, {"Dockerfile": f"FROM {name}\nONBUILD RUN echo on > /tmp/on\n"})
    first = await workshop.build()
    await asyncio.to_thread(write, workshop.checkout, {"Dockerfile": f"FROM {first.name}\n"})
    second = await workshop.build(workshop.log("second"))
    assert (await workshop.run(second, "cat", "/tmp/on")).strip() == "on"  # noqa: S108 - in the image


@pytest.mark.docker
@pytest.mark.timeout(60)
async def test_dockerfile_on_a_missing_image(workshop: Workshop) -> None:
    """An image that cannot be had is named, with its registry."""
    await asyncio.to_thread(write, workshop.checkout, {"Dockerfile": "FROM 127.0.0.1:9/none/such:1\n"})
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1:9"):
        await workshop.build()
