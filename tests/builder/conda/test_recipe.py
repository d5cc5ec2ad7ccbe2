"""What is asked for, and the Dockerfile's lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.builder.conda import recipe
from binderlet.builder.conda.environment_file import EnvironmentFile, read
from binderlet.builder.conda.recipe import Layers, Solution, archives, key_parts
from binderlet.errors import BadRepository

PACKAGE = {
    "name": "toy",
    "version": "1.0",
    "build": "0",
    "url": "https://x.test/noarch/toy-1.0-0.conda",
    "file": "toy-1.0-0.conda",
    "sha256": "ab" * 32,
    "md5": "",
    "archive": "/var/x/toy-1.0-0.conda",
}


def of(text: str) -> EnvironmentFile:
    """Read a file."""
    return read(text.encode(), "environment.yml")


def test_attempts() -> None:
    """First as repo2docker has it, then any Jupyter, then none; what the file names is the file's alone."""
    first, second, third = recipe.ask(of("dependencies: [jupyterlab=3, numpy]"), ["c"], "").attempts
    assert first[:2] == second[:2] == third[:2] == ("jupyterlab=3", "numpy")
    assert "python=3.10.*" in first
    assert "notebook=7.*" in first
    assert not [spec for spec in (*first[2:], *second[2:], *third[2:]) if spec.startswith("jupyterlab")]
    assert third[2:] == ("python", "pip")


def test_channel_of_a_spec() -> None:
    """A channel that only a spec names is asked, too, once."""
    question = recipe.ask(of("dependencies: ['d::a', 'd::b', 'c::e']"), ["c"], "https://m.test")
    assert [channel.url for channel in question.channels] == ["https://m.test/c", "https://m.test/d"]
    assert question.own == ("https://m.test/d::a", "https://m.test/d::b", "https://m.test/c::e")


BASE = "channels: [a, b]\ndependencies: [numpy=1, scipy]\nvariables: {A: '1', B: '2'}\n"


@pytest.mark.parametrize(
    "text",
    [
        "# why\n" + BASE,
        BASE + "name: other\nprefix: /x\n",
        BASE.replace("numpy=1, scipy", "scipy, numpy=1"),
        BASE.replace("A: '1', B: '2'", "B: '2', A: '1'"),
        "dependencies:\n  - numpy=1\n  - scipy\nchannels:\n  - a\n  - b\nvariables:\n  A: 1\n  B: 2\n",
    ],
)
def test_same_key(text: str) -> None:
    """How a file is written, its name and its order make no other environment."""
    assert recipe.key_parts(of(text), ["c"]) == recipe.key_parts(of(BASE), ["c"])


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("[a, b]", "[b, a]"),
        BASE.replace("[a, b]", "[a]"),
        BASE.replace("numpy=1", "numpy=2"),
        BASE.replace(", scipy", ""),
        BASE.replace("B: '2'", "B: '3'"),
    ],
)
def test_other_key(text: str) -> None:
    """Channels and their order, packages, pins and variables do."""
    assert recipe.key_parts(of(text), ["c"]) != recipe.key_parts(of(BASE), ["c"])


def test_key_of_operator_and_day() -> None:
    """The operator's channels count where the file names none; so does the day of the packages."""
    empty = of("dependencies: [numpy]")
    assert recipe.key_parts(empty, ["c"]) != recipe.key_parts(empty, ["d"])
    assert recipe.key_parts(of(BASE), ["c"]) == recipe.key_parts(of(BASE), ["d"])
    assert recipe.key_parts(empty, ["c"], "2024-01-01") != recipe.key_parts(empty, ["c"])


def test_layers() -> None:
    """The packages go into the build context, and the shared cache is in the linking step alone."""
    found = of("variables: {A: 'x \"$HOME\" \\'}\ndependencies: [toy]\n")
    layers = recipe.layers("base:1", found, Solution((PACKAGE,), has_jupyter=True), cache_mounts=True)
    path = f"conda/{'ab' * 8}/toy-1.0-0.conda"
    assert layers.links[path] == Path("/var/x/toy-1.0-0.conda")
    assert '"archive"' not in layers.texts["conda/packages.json"]
    assert 'ENV A="x \\"\\$HOME\\" \\\\"' in layers.steps
    assert "export A='x \"$HOME\" \\'" in layers.texts["conda/profile.sh"]
    assert layers.stages[0] == "FROM base:1 AS binderlet-conda"
    assert sum("type=cache" in step for step in layers.steps) == 1
    assert "jupyterlab" not in "".join(layers.steps)


def test_layers_without_cache_or_jupyter() -> None:
    """Without cache mounts nothing of the cache stays; without Jupyter it comes from the package index."""
    layers = recipe.layers("base:1", of(""), Solution((PACKAGE,), has_jupyter=False), cache_mounts=False)
    whole = "\n".join(layers.steps)
    assert "type=cache" not in whole
    assert "rm -rf /tmp/conda-cache" in whole
    assert "uv pip install" in whole
    assert "jupyterlab==4.*" in whole


def test_nothing() -> None:
    """An environment without conda has no such layers."""
    assert recipe.layers("base:1", None, None, cache_mounts=True) == Layers()


def test_virtual_packages() -> None:
    """The base image's C library counts, not this machine's; there is no GPU."""
    assert ["__glibc", "2.41", "0"] in recipe.virtual_packages("trixie", "x86_64")
    assert ["__glibc", "2.36", "0"] in recipe.virtual_packages("other", "x86_64")


def test_archives_of_a_lock() -> None:
    """A lock's lines become packages as the solver describes them, and name the environment by themselves."""
    line = f"https://x.test/c/linux-64/lib-two-1.0-h1_0.conda#{'a' * 64}"
    found = EnvironmentFile("environment.yml", specs=("x",), archives=(line,))
    (entry,) = archives(found, (), "")
    assert entry == {
        "name": "lib-two",
        "version": "1.0",
        "build": "h1_0",
        "subdir": "linux-64",
        "file": "lib-two-1.0-h1_0.conda",
        "url": "https://x.test/c/linux-64/lib-two-1.0-h1_0.conda",
        "size": 0,
        "sha256": "a" * 64,
        "md5": "",
    }
    assert key_parts(found, ()) == key_parts(replace(found, specs=("y",)), ("other",))
    assert key_parts(found, ()) != key_parts(replace(found, archives=(line.replace("1.0", "2.0"),)), ())


@pytest.mark.parametrize("line", ["https://x.test/c/linux-64/a-1-0.conda", "file:///c/a-1-0.conda#" + "a" * 64, "x"])
def test_what_is_no_archive(line: str) -> None:
    """A line of a lock that is no package with its hash is refused."""
    with pytest.raises(BadRepository, match="The lock names"):
        archives(EnvironmentFile("environment.yml", archives=(line,)), (), "")
