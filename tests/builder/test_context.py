"""The files that a build tool reads."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from binderlet.builder.context import Context, own_ignore_file


def test_write(tmp_path: Path) -> None:
    """All files are where the properties say; the one with passwords is for us alone."""
    context = Context(
        tmp_path / "job",
        "FROM x\n",
        ignore="data",
        requirements={"binder/requirements.txt": "numpy # é\n"},
        variables={"PIP_INDEX_URL": "https://user:secret@index.test/simple"},
        ca_bundle=Path("/ca.pem"),
        uv="[pip]\n",
    )
    context.write()
    context.write()
    assert context.dockerfile_path.read_text() == "FROM x\n"
    assert (tmp_path / "job/Dockerfile.dockerignore").read_text().endswith("\ndata\n")
    assert (context.root / "requirements/binder/requirements.txt").read_text(encoding="utf-8") == "numpy # é\n"
    secret = context.secrets["binderlet-environment"]
    assert secret.read_text() == "export PIP_INDEX_URL=https://user:secret@index.test/simple\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert context.secrets["binderlet-uv"].read_text() == "[pip]\n"
    assert context.secrets["binderlet-uv"].stat().st_mode & 0o777 == 0o600
    assert context.secrets["binderlet-ca"] == Path("/ca.pem")


def test_what_is_late(tmp_path: Path) -> None:
    """What to install may come later, by way of a pipe that is ours alone."""
    (tmp_path / "early").mkdir()
    (tmp_path / "late").mkdir()
    early = Context(tmp_path / "early", "FROM x\n", resolved="{}")
    early.write()
    assert early.secrets["binderlet-resolved"].read_text() == "{}"
    late = Context(tmp_path / "late", "FROM x\n", is_late=True)
    late.write()
    assert late.secrets["binderlet-resolved"] == late.resolved_path
    assert late.resolved_path.is_fifo()
    assert late.resolved_path.stat().st_mode & 0o777 == 0o600


def test_without_ignore_file(tmp_path: Path) -> None:
    """Where the repository's own ignore file counts, none is written; no bundle, no secret."""
    context = Context(tmp_path, "FROM x\n")
    context.write()
    assert not (tmp_path / "Dockerfile.dockerignore").exists()
    assert set(context.secrets) == {"binderlet-environment"}


def test_dockerfile_of_any_bytes(tmp_path: Path) -> None:
    """A repository's own Dockerfile is written byte by byte."""
    Context(tmp_path, b"FROM x # \xe9\n".decode("utf-8", "surrogateescape")).write()
    assert (tmp_path / "Dockerfile").read_bytes() == b"FROM x # \xe9\n"


def test_ignore_file_of_a_dockerfile(tmp_path: Path) -> None:
    """It lies beside the Dockerfile; one that is a link out of the repository is none."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    assert own_ignore_file(checkout, "Dockerfile") is None
    (checkout / "Dockerfile.dockerignore").write_text("data\n")
    assert own_ignore_file(checkout, "Dockerfile") == "data\n"
    (tmp_path / "outside").write_text("secret\n")
    (checkout / "other.dockerignore").symlink_to(tmp_path / "outside")
    assert own_ignore_file(checkout, "other") is None


def test_more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files from elsewhere are linked, or copied where they are on another disk, and never written to."""
    source = tmp_path / "source"
    source.write_text("x")
    context = Context(tmp_path / "job", "FROM x\n", texts={"a/b": "text"}, links={"c/d": source})
    context.write()
    context.write()
    assert (context.root / "a/b").read_text() == "text"
    assert (context.root / "c/d").samefile(source)
    monkeypatch.setattr(os, "link", Mock(side_effect=OSError))
    context.write()
    assert (context.root / "c/d").read_text() == source.read_text() == "x"
    assert not (context.root / "c/d").samefile(source)


def test_what_the_tool_adds_is_left_out(tmp_path: Path) -> None:
    """The tool's own patterns come after the repository's."""
    Context(tmp_path, "FROM x\n", ignore="data", hidden=("srv/state",)).write()
    assert (tmp_path / "Dockerfile.dockerignore").read_text().endswith("\ndata\nsrv/state\n")


def test_an_ignore_file_that_must_be_there(tmp_path: Path) -> None:
    """Where the tool needs one it is the Dockerfile's, else the repository's, else empty."""
    assert own_ignore_file(tmp_path, "Dockerfile", must=True) == ""
    (tmp_path / ".dockerignore").write_text("a")
    assert own_ignore_file(tmp_path, "Dockerfile", must=True) == "a"
    assert own_ignore_file(tmp_path, "Dockerfile") is None
    (tmp_path / "Dockerfile.dockerignore").write_text("b")
    assert own_ignore_file(tmp_path, "Dockerfile", must=True) == "b"
