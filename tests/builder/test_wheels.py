"""Filling the package cache after builds, with a scripted builder and once for real."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from structlog.testing import capture_logs

from binderlet.builder import layers
from binderlet.builder.base import BuildRequest
from binderlet.builder.install_program import NEW
from binderlet.builder.job import Outcome
from binderlet.builder.layers import Work
from binderlet.builder.plan import Kind, Plan
from binderlet.builder.wheels import Wheels
from binderlet.errors import BuildFailed
from binderlet.events.buildlog import BuildLog
from support.tiny_base import TinyBase
from support.values import COMMIT
from support.workshop import Workshop

BASE = TinyBase("base:1", "sha256:1", "3.11")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A build that has ended."""
    return Work(BuildRequest(COMMIT, tmp_path, "i:1"), Plan(Kind.PYTHON), BuildLog(tmp_path / "log"), 0.0)


async def test_one_after_the_other(work: Work) -> None:
    """Each environment's wheels are fetched once, with time of their own; then what comes next is asked for."""
    fetcher, then = Mock(fetch=AsyncMock(return_value=Outcome(0, "exited", ""))), Mock()
    wheels = Wheels(fetcher, delay=0.01)
    for key in ("a", "b", "a"):
        wheels.want(key, work, BASE, then)
    await wheels.wait()
    await wheels.close()
    assert fetcher.fetch.await_count == then.call_count == 2
    assert fetcher.fetch.await_args.args[0].deadline > 0


@pytest.mark.parametrize("how", [{"return_value": Outcome(1, "exited", "no")}, {"side_effect": BuildFailed("no")}])
async def test_failures_are_only_logged(work: Work, how: dict[str, object]) -> None:
    """Wheels that cannot be had are new to the next build, too; what comes next does not depend on them."""
    then = Mock()
    wheels = Wheels(Mock(fetch=AsyncMock(**how)), delay=0.01)
    with capture_logs() as logs:
        wheels.want("a", work, BASE, then)
        await wheels.wait()
    assert [entry["event"] for entry in logs] == ["wheels cannot be fetched"]
    then.assert_called_once()


@pytest.mark.docker
@pytest.mark.timeout(120)  # it reaches for a package index, on a machine that may be busy
async def test_for_real(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New wheels are written once while somebody waits, leave nothing else behind, and are in the cache later."""
    program = tmp_path / "install_program.py"
    program.write_text(layers.INSTALL_PROGRAM.read_text().replace("APART_FROM = 20_000_000", "APART_FROM = 1"))
    monkeypatch.setattr(layers, "INSTALL_PROGRAM", program)
    base = replace(workshop.bases.base, id=f"sha256:{secrets.token_hex(32)}")
    settings = workshop.settings.model_copy(update={"bytecode": False, "shared_layers": False})
    builder = workshop.another(settings, base)
    builder._namespaces = builder._layers._namespaces = Mock(shared=secrets.token_hex(8), of_owner=lambda _: "o")
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\n")
    image = await builder.build(workshop.request(), workshop.log())
    await builder.settled()
    (workshop.checkout / "requirements.txt").write_text("iniconfig==2.0.0\nidna==3.10\n")
    again = await builder.build(workshop.request(), workshop.log("second"))
    await builder.close()
    workshop.images += [environment.image for environment in await builder.environments.listed()]
    text, second = await workshop.read(workshop.log()), await workshop.read(workshop.log("second"))
    assert f"{NEW} iniconfig." in text
    assert "+ iniconfig==2.0.0" in text
    assert f"{NEW} idna." in second
    assert "+ iniconfig==2.0.0" in second
    for each in (image, again):
        assert await workshop.run(each, "python", "-c", "import iniconfig; print(1)") == "1\n"
        assert await workshop.run(each, "find", "/tmp", "-mindepth", "1", "-name", "*new*") == ""  # noqa: S108
        lock = await workshop.run(each, "cat", "/srv/conda/envs/notebook/share/binderlet/lock.json")
        assert "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374" in lock
