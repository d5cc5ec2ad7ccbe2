"""What the root helper does: on folders that look like control groups and an engine's store, and on real groups."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from binderlet.builder.group import step_places
from binderlet.clients import nftables
from binderlet.clients.cgroups import Cgroups, CgroupsUnusable
from binderlet.clients.nftables import NftablesUnusable
from binderlet.deploy.helper.actions import Actions
from binderlet.deploy.helper.requests import Hold, LayerSize, LimitBuilds, Reclaim, Refused, Release, System, Tend
from binderlet.engine.egress import Rules

ID = "a1" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of cgroup version 2 with one container."""
    (tmp_path / "cgroup.controllers").touch()
    group = tmp_path / "binderlet.slice" / "binderlet-sessions.slice" / f"docker-{ID}.scope"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("4096\n")
    (group / "memory.reclaim").write_text("")
    return tmp_path


def test_a_container_is_pushed_out(root: Path) -> None:
    """All of its memory; one that is gone is no error."""
    actions = Actions(root)
    assert actions.do(Reclaim(ID), []) == {}
    assert next(root.rglob("memory.reclaim")).read_text() == "4096"
    assert actions.do(Reclaim("b" * 64), []) == {}


@pytest.mark.parametrize(
    ("error", "answer"), [(CgroupsUnusable("this kernel cannot"), None), (OSError(errno.EIO, "no luck"), "no luck")]
)
def test_what_the_kernel_does_not_do(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, answer: str | None
) -> None:
    """What can never be is refused; what failed this time is said."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Cgroups, "reclaim", fail)
    if answer:
        assert Actions(root).do(Reclaim(ID), []) == {"failed": answer}
    else:
        with pytest.raises(Refused, match="this kernel cannot"):
            Actions(root).do(Reclaim(ID), [])


def test_builds_are_limited(root: Path) -> None:
    """The files that were written are told."""
    (root / "docker" / "buildkit").mkdir(parents=True)
    (root / "docker" / "buildkit" / "pids.max").write_text("max\n")
    assert Actions(root).do(LimitBuilds(0, 512, 50), []) == {"written": [str(root / "docker/buildkit/pids.max")]}


def test_steps_are_tended_until_nobody_listens(root: Path) -> None:
    """Each look is told; where the other side is gone it ends."""
    step = root / "docker" / "buildkit" / "step"
    step.mkdir(parents=True)
    (step / "cgroup.procs").write_text("")
    (step / "pids.max").write_text("max")
    told: list[str] = []

    def listen(word: str) -> bool:
        told.append(word)
        return len(told) < 2

    request = Tend("x.binderlet.invalid", 100, 64, 500, 0)
    Actions(root).tend(request, listen)
    assert told == ["", ""]
    assert (step / "pids.max").read_text() == "64"
    with pytest.raises(Refused):
        Actions(root).do(request, [])


@pytest.fixture
def real_step() -> Iterator[tuple[int, Path, Path]]:
    """A process with a mark where the engine has its builds' steps; with its groups for processes and the CPU."""
    places = step_places()
    parents = [next((Path(each) for each in those if Path(each).is_dir()), None) for those in (places.pids, places.cpu)]
    if os.geteuid() != 0 or None in parents:
        pytest.skip("this is not root, or the engine has not built anything yet")
    name = f"test-{uuid4().hex}"
    pids, cpu = groups = [parent / name for parent in parents if parent is not None]
    with subprocess.Popen(["sleep", "60"], env={"PATH": os.defpath, "no_proxy": "y.binderlet.invalid"}) as process:
        try:
            for group in groups:
                group.mkdir(exist_ok=True)
                (group / "cgroup.procs").write_text(str(process.pid))
            yield process.pid, pids / "pids.max", cpu / places.share_file
        finally:
            process.kill()
            process.wait()
            for group in {*groups}:
                group.rmdir()


@pytest.mark.docker
def test_a_real_step_is_tended(real_step: tuple[int, Path, Path]) -> None:
    """The kernel's own files of a step have the limits of the build whose mark it has; others' marks are others'."""
    process, processes, share = real_step
    before = share.read_text()
    score = Path(f"/proc/{process}/oom_score_adj")
    Actions().tend(Tend("x.binderlet.invalid", 100, 64, 500, 0), lambda _: False)
    assert share.read_text() == before
    Actions().tend(Tend("y.binderlet.invalid", 100, 64, 500, 0), lambda _: False)
    assert share.read_text() == "100\n"
    # Other builds of this machine may see to these two besides, each in its way.
    assert processes.read_text() != "max\n"
    assert int(score.read_text()) >= 500


def test_sizes_of_layers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read below the place that the engine's own settings name; None for what is not there."""
    layer = root / "data" / "image" / "overlay2" / "layerdb" / "sha256" / ID
    layer.mkdir(parents=True)
    (layer / "size").write_text("123")
    daemon = root / "daemon.json"
    daemon.write_text(json.dumps({"data-root": str(root / "data")}))
    actions = Actions(root, daemon=daemon)
    assert actions.do(LayerSize("overlay2", ID), []) == {"size": 123}
    assert actions.do(LayerSize("overlay2", "b" * 64), []) == {"size": None}
    monkeypatch.setattr("binderlet.deploy.helper.actions.STORE", root / "data")
    assert Actions(root, daemon=root / "none").do(LayerSize("overlay2", ID), []) == {"size": 123}


def test_the_debian_part(root: Path, tmp_path: Path) -> None:
    """A program is run with release and archives, writes to what came along, and has no more than a proxy."""
    show = ("/bin/sh", "-c", 'echo "$0 $* $http_proxy"; echo words >&2; exit 7')
    actions = Actions(root, bootstrap=show)
    request = System("bookworm", ("deb http://d bookworm main",), {"http_proxy": "p"})
    with (tmp_path / "out").open("w+b") as out, (tmp_path / "err").open("w+b") as err:
        assert actions.do(request, [out.fileno(), err.fileno()]) == {"code": 7}
    assert (tmp_path / "out").read_text() == "bookworm deb http://d bookworm main p\n"
    assert (tmp_path / "err").read_text() == "words\n"
    with pytest.raises(Refused, match="did not come along"):
        actions.do(request, [os.open(os.devnull, os.O_RDONLY)][:0])


def test_network_rules(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are set from the fields of the request alone, taken away, and what fails is said."""
    done: list[str] = []

    def ensure(_table: str, mark: str, script: str) -> bool:
        done.append(script)
        return f"chain {mark}" in script

    monkeypatch.setattr(nftables, "ensure", ensure)
    monkeypatch.setattr(nftables, "remove", done.append)
    rules = Rules("mine", ("br-0",), ("80",))
    assert Actions(root).do(Hold(rules), []) == {"changed": True}
    assert Actions(root).do(Release("mine"), []) == {}
    assert 'iifname "br-0"' in done[0]
    assert done[1] == "binderlet-egress-mine"

    def refuse(*_: object) -> bool:
        raise NftablesUnusable("nft is not installed")

    monkeypatch.setattr(nftables, "ensure", refuse)
    assert Actions(root).do(Hold(rules), []) == {"failed": "nft is not installed"}
