"""Reading environment.yml."""

from __future__ import annotations

import pytest

from binderlet.builder.conda.environment_file import EnvironmentFile, read
from binderlet.errors import BadRepository

WHOLE = """\
# an environment
name: course
channels:
  - conda-forge
  - defaults
dependencies:
  - python=3.11
  - numpy>=1.20,<2   # comment
  - conda-forge::scipy
  - libblas=*=*openblas
  - pip
  - pip:
    - iniconfig==2.0.0
    - -r more.txt
prefix: /home/me/anaconda3
variables:
  LEVEL: 3
"""


def of(text: str) -> EnvironmentFile:
    """Read a file in the root."""
    return read(text.encode(), "environment.yml")


def test_whole() -> None:
    """Everything is read; name and prefix say nothing; pip's lines keep their numbers."""
    found = of(WHOLE)
    assert found.channels == ("conda-forge", "defaults")
    assert found.specs == ("python=3.11", "numpy>=1.20,<2", "conda-forge::scipy", "libblas=*=*openblas", "pip")
    assert found.names() == {"python", "numpy", "scipy", "libblas", "pip"}
    assert found.lines["numpy>=1.20,<2"] == 8
    assert found.pip.split("\n")[12:14] == ["iniconfig==2.0.0", "-r more.txt"]
    assert found.variables == {"LEVEL": "3"}
    assert found.python == "3.11"
    assert found.beyond == ""
    assert found.pip_path == "environment.yml (pip)"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "name: x\n", "dependencies:\n", "dependencies: []\n"])
def test_empty(text: str) -> None:
    """A file may ask for nothing."""
    assert of(text).specs == ()


def test_one_word_is_a_list() -> None:
    """As for conda, a single word counts as a list."""
    found = of("channels: conda-forge\ndependencies: numpy\nvariables:\n")
    assert (found.channels, found.specs, found.variables) == (("conda-forge",), ("numpy",), {})


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("python=3.11", "3.11"),
        ("python==3.9.7", "3.9"),
        ("python = 3.10.*", "3.10"),
        ("python>=3.12", ""),
        ("python 3.11", ""),
        ("python=3", ""),
        ("python=", ""),
        ("numpy", ""),
    ],
)
def test_python(spec: str, version: str) -> None:
    """The version is read as repo2docker reads it; what does not match is left to the solver."""
    assert of(f"dependencies: ['{spec}']").python == version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies:\n  - a\n - b\n", "environment.yml, line 3: this is not YAML:"),
        ("dependencies: [a\n", "line 2: this is not YAML:"),
        ("a: *b\n", "line 1: this is not YAML: found undefined alias"),
        ("a: \x01\n", "environment.yml: this is not YAML that can be read."),
        ("- numpy\n", "line 1: the file must consist of 'name: value' pairs."),
        ("numpy\n", "line 1: the file must consist of"),
        ("? [a]\n: b\n", "line 1: this name is not a word."),
        ("dependencies:\n  - pip:\n    - [a]\n", "line 3: what is in 'pip' must be words."),
        ("dependencies:\n  - npm:\n    - a\n", "line 2: 'npm' is no part of 'dependencies' that is known; 'pip' is."),
        ("dependencies:\n  - numpy\n  - '>=1'\n", "line 3: '>=1' is not the name of a package."),
        ("variables: [a]\n", "line 1: 'variables' must consist of"),
        ("variables:\n  A-B: c\n", "line 2: 'A-B' cannot be a variable with this value."),
        ("variables:\n  A: [1]\n", "line 2: 'A' cannot be a variable"),
    ],
)
def test_wrong(text: str, message: str) -> None:
    """A mistake is told with file and line."""
    with pytest.raises(BadRepository) as error:
        of(text)
    assert message in str(error.value)


def test_too_deep() -> None:
    """A file that nests without end, or is very large, is refused and harms nothing."""
    with pytest.raises(BadRepository, match="is not YAML that can be read"):
        of("dependencies: " + "[" * 100_000)
    with pytest.raises(BadRepository, match="larger than 256 kB"):
        of("#" * 300_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("channels: ['file:///srv/channel']", "the channel 'file:///srv/channel'"),
        ("channels: [./local]", "the channel './local'"),
        ("channels: ['https://${TOKEN}@x.test/c']", "the channel 'https://**********@x.test/c'"),
        ("dependencies: [./a-1-0.conda]", "'./a-1-0.conda'"),
        ("dependencies: ['https://x.test/a-1-0.tar.bz2']", "'https://x.test/a-1-0.tar.bz2'"),
        ("dependencies: ['file:a']", "'file:a'"),
        ("dependencies: ['a[build=x]']", "'a[build=x]'"),
        ("dependencies: [python=3.6]", "Python 3.6"),
        ("platforms: [linux-64]", "the section 'platforms'"),
    ],
)
def test_beyond(text: str, reason: str) -> None:
    """What only conda itself can do is left to repo2docker, with the reason."""
    assert of(text).beyond == f"environment.yml asks for {reason}"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("dependencies: [pip, {pip: [numpy]}]", True),
        ("dependencies: [python=3.11, pip]", True),
        ("dependencies: ['python = 3.11.*']", True),
        ("dependencies: [python=3.12]", False),
        ("dependencies: [numpy]", False),
        ("dependencies: [pip]\nvariables: {A: b}", False),
    ],
)
def test_only_pip(text: str, *, plain: bool) -> None:
    """A file that asks conda only for the Python that is there needs no conda."""
    assert of(text).is_only_pip("3.11") is plain
