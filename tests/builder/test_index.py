"""uv's settings for the package index."""

from __future__ import annotations

import tomllib

import pytest

from binderlet.builder.index import PYPI, only_index, uv_configuration
from binderlet.builder.plan import Kind, Plan
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings

PLAN = Plan(Kind.PYTHON, requirements={"requirements.txt": "numpy\n# --index-url is not here\nimportlib-index\n"})
CONTROL = {"api": "max-age=600", "files": "max-age=600"}


def test_indexes() -> None:
    """Indexes come in their order, the default one last, each with the age that its answers may have."""
    network = NetworkEnvironment(index_url="https://i.test/s", extra_index_urls=("https://a.test/s",))
    body = tomllib.loads(uv_configuration(network, BuilderSettings(), PLAN))
    assert body["index"] == [
        {"url": "https://a.test/s", "cache-control": CONTROL},
        {"url": "https://i.test/s", "default": True, "cache-control": CONTROL},
    ]


def test_pypi() -> None:
    """Without an index of the operator's it is PyPI."""
    body = tomllib.loads(uv_configuration(NetworkEnvironment(), BuilderSettings(index_age=60), PLAN))
    control = {"api": "max-age=60", "files": "max-age=60"}
    assert body["index"] == [{"url": "https://pypi.org/simple", "default": True, "cache-control": control}]


def test_only_index() -> None:
    """Where there are several, none is the only one."""
    assert only_index(NetworkEnvironment()) == PYPI
    assert only_index(NetworkEnvironment(index_url="https://i.test/s")) == "https://i.test/s"
    assert only_index(NetworkEnvironment(extra_index_urls=("https://i.test/s",))) == ""


@pytest.mark.parametrize("line", ["-i https://x", "--index-url=https://x", "  --extra-index-url x", "--no-index"])
def test_index_of_the_repository(line: str) -> None:
    """A repository that names its index is asked for nothing else."""
    plan = Plan(Kind.PYTHON, requirements={"a.txt": "numpy\n", "b.txt": f"pandas\n{line}\n"})
    assert not uv_configuration(NetworkEnvironment(), BuilderSettings(), plan)


@pytest.mark.parametrize("settings", [BuilderSettings(index_age=0), BuilderSettings(base_image="own:1")])
def test_left_to_uv(settings: BuilderSettings) -> None:
    """The operator may leave it to the index; a base image of the operator's has a uv of any age."""
    assert not uv_configuration(NetworkEnvironment(), settings, PLAN)
