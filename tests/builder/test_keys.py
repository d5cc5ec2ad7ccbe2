"""Names of environments."""

from __future__ import annotations

import pytest

from binderlet.builder.keys import environment_key, job_key

ORDINARY = {
    "base_id": "sha256:1",
    "platform": "linux/x86_64",
    "apt": ("curl", "git"),
    "requirements": {"requirements.txt": "numpy\n", "dev.txt": "scipy\n"},
    "main": "requirements.txt",
    "builder_version": "1",
}


def key(**changes: object) -> str:
    """Give the key of an ordinary environment with changes."""
    return environment_key(**{**ORDINARY, **changes})  # type: ignore[arg-type] # arguments by name


def test_form() -> None:
    """A key can be part of an image's name."""
    assert len(key()) == 32
    assert set(key()) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "changes",
    [
        {"base_id": "sha256:2"},
        {"platform": "linux/aarch64"},
        {"apt": ("curl",)},
        {"requirements": {"requirements.txt": "numpy\n"}},
        {"requirements": {"requirements.txt": "numpy<2\n", "dev.txt": "scipy\n"}},
        {"requirements": {"requirements.txt": "numpy\n", "de/v.txt": "scipy\n"}},
        {"builder_version": "2"},
    ],
)
def test_everything_counts(changes: dict[str, object]) -> None:
    """Whatever makes another environment makes another key."""
    assert key(**changes) != key()


@pytest.mark.parametrize(
    "changes",
    [
        {"apt": ("git", "curl", "git")},
        {
            "requirements": {"binder/requirements.txt": "numpy\n", "binder/dev.txt": "scipy\n"},
            "main": "binder/requirements.txt",
        },
    ],
)
def test_what_makes_no_difference(changes: dict[str, object]) -> None:
    """Order of packages and the folder of the files make no other environment."""
    assert key(**changes) == key()


def test_includes_beside_and_above() -> None:
    """A file above the requirement file is another one than a file beside it."""
    above = {"binder/requirements.txt": "-r ../x\n", "x": ""}
    beside = {"binder/requirements.txt": "-r ../x\n", "binder/x": ""}
    main = "binder/requirements.txt"
    assert key(requirements=above, main=main) != key(requirements=beside, main=main)


def test_job_key() -> None:
    """Jobs of different images have different folders."""
    assert job_key("a:1") != job_key("a:2")
    assert len(job_key("a:1")) == 24


def test_options_of_the_installer() -> None:
    """A date or a lock makes another environment, unless nothing is installed."""
    day = ("--exclude-newer", "2024-01-01T23:59:59Z")
    assert key(options=day) != key()
    assert key(options=day, requirements={}) == key(requirements={})


def test_comments() -> None:
    """Comments and blank lines do not count, but where lines are joined everything does."""
    assert key(requirements={"requirements.txt": "# why\nnumpy\n\n", "dev.txt": "scipy"}) == key()
    joined = {"requirements.txt": "numpy \\\n  >=1\n"}
    assert key(requirements=joined) != key(requirements={"requirements.txt": "# why\nnumpy \\\n  >=1\n"})


def test_options_and_conda() -> None:
    """What the installer is told counts where there is something to install; so do conda's packages."""
    assert key(options=("--pre",)) != key()
    assert key(options=("--pre",), requirements={}) == key(requirements={})
    assert key(conda=["numpy"]) != key()
