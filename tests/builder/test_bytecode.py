"""Compiling the shared package cache after builds."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binderlet.builder.bytecode import Bytecode, BytecodeTarget
from binderlet.builder.toolchain import Toolchain
from support.eventually import eventually
from support.tiny_base import TinyBase

FAKE = BytecodeTarget("base:1", "3.11", "n")


def pretend(tmp_path: Path, script: str) -> Toolchain:
    """Give a build tool that is a script; ``$report`` is where the result goes."""
    program = tmp_path / "docker"
    found = 'for word in "$@"; do case "$word" in type=local*) report="${word##*dest=}";; esac; done'
    program.write_text(f"#!/bin/bash\n{found}\n{script}\n")
    program.chmod(0o755)
    return Toolchain("docker", str(program), "20.10")


@pytest.fixture
async def logs() -> AsyncIterator[list[dict[str, object]]]:
    """What is logged."""
    with capture_logs() as found:
        yield found  # type: ignore[misc]  # structlog says MutableMapping


@pytest.mark.timeout(60)  # real seconds on a busy machine
async def test_a_cache_is_compiled_for_real(
    tools: Toolchain, tiny_base: TinyBase, tmp_path: Path, logs: list[dict[str, object]]
) -> None:
    """What is in the cache of one namespace is compiled, by a step that leaves no image."""
    namespace = secrets.token_hex(8)
    bytecode = Bytecode(tools, tmp_path / "bytecode", delay=0)
    bytecode.want(BytecodeTarget(tiny_base.name, tiny_base.python, namespace))
    await bytecode.wait()
    await bytecode.close()
    assert [entry["event"] for entry in logs] == ["wheels compiled"]
    assert logs[0]["files"] == 0
    assert list((tmp_path / "bytecode").iterdir()) == []


async def test_requests_are_put_together(tmp_path: Path, logs: list[dict[str, object]]) -> None:
    """However many builds end, one run follows for each Python."""
    tools = pretend(tmp_path, 'mkdir -p "$report"; echo 7 > "$report/compiled"')
    bytecode = Bytecode(tools, tmp_path / "bytecode", delay=0.01)
    for python in ("3.11", "3.11", "3.13"):
        bytecode.want(BytecodeTarget("base:1", python, "n"))
    await bytecode.wait()
    await bytecode.close()
    assert sorted(str(entry["python"]) for entry in logs) == ["3.11", "3.13"]
    assert {entry["files"] for entry in logs} == {7}


async def test_a_run_of_an_earlier_process_is_followed(tmp_path: Path, logs: list[dict[str, object]]) -> None:
    """A run that outlived its control plane is waited for instead of started again."""
    tools = pretend(tmp_path, f'echo x >> {tmp_path}/runs; sleep 1; mkdir -p "$report"; echo 1 > "$report/compiled"')
    first = Bytecode(tools, tmp_path / "bytecode", delay=0)
    first.want(FAKE)
    await eventually((tmp_path / "runs").exists)
    await first.close()
    second = Bytecode(tools, tmp_path / "bytecode", delay=0)
    second.want(FAKE)
    await second.wait()
    await second.close()
    assert (tmp_path / "runs").read_text() == "x\n"
    assert [entry["event"] for entry in logs] == ["wheels compiled"]


async def test_failures_are_only_logged(tmp_path: Path, logs: list[dict[str, object]]) -> None:
    """A step that fails, or a supervisor that does not start, costs nothing but a line in the log."""
    bytecode = Bytecode(pretend(tmp_path, "echo no; exit 3"), tmp_path / "bytecode", delay=0)
    bytecode.want(FAKE)
    await bytecode.wait()
    assert (logs[0]["code"], logs[0]["said"]) == (3, "no\n")
    await bytecode.close()


async def test_a_job_that_cannot_start(
    tmp_path: Path, logs: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a supervisor nothing is compiled."""
    monkeypatch.setattr("binderlet.builder.job.START_TIMEOUT", 0.05)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    bytecode = Bytecode(pretend(tmp_path, "exit 0"), tmp_path / "bytecode", delay=0)
    bytecode.want(FAKE)
    await bytecode.wait()
    await bytecode.close()
    assert "supervisor" in str(logs[0]["error"])
