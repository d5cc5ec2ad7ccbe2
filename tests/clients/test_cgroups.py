"""Control groups: found by container id, read and emptied, on trees of both versions and on this machine's own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from binderlet.clients import cgroups
from binderlet.clients.cgroups import Cgroups, CgroupsUnusable, Usage, systemd_root
from support.filled import filled_container

A, B = "a" * 64, "b" * 64
GONE = "c" * 64


def put(folder: Path, **files: str) -> Path:
    """Make a folder of kernel files; ``memory__stat`` is ``memory.stat``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def unified(root: Path) -> Path:
    """A tree of version 2 with one container of Docker under systemd and one of Podman without root."""
    put(root, cgroup__controllers="cpu memory\n")
    files = {"memory__current": "1000\n", "cpu__stat": "usage_usec 2500000\nuser_usec 1\n", "memory__reclaim": ""}
    put(root / "system.slice" / f"docker-{A}.scope", memory__swap__current="300\n", **files)
    put(root / "user.slice" / "user-1000.slice" / "user@1000.service" / "user.slice" / f"libpod-{B}.scope", **files)
    put(root / "user.slice" / f"libpod-conmon-{GONE}.scope", **files)
    return root


def separate(root: Path) -> Path:
    """A tree of version 1 with one container that counts swap and one that cannot."""
    files = {"memory__usage_in_bytes": "1000\n", "memory__force_empty": ""}
    put(root / "memory" / "docker" / A, memory__memsw__usage_in_bytes="1300\n", **files)
    put(root / "memory" / "docker" / B, **files)
    for name in (A, B):
        put(root / "cpu,cpuacct" / "docker" / name, cpuacct__usage="2500000000\n")
    return root


TREES = pytest.mark.parametrize("tree", [unified, separate])


@TREES
def test_containers_are_found_and_read_wherever_they_are(tree: Callable[[Path], Path], tmp_path: Path) -> None:
    """CPU time in seconds, memory and swap in bytes; no swap where the kernel does not count it."""
    groups = Cgroups(tree(tmp_path))
    assert groups.read([A, B]) == {A: Usage(2.5, 1000, 300), B: Usage(2.5, 1000, 0)}
    assert groups.read([A]) == {A: Usage(2.5, 1000, 300)}


def test_the_search_has_an_end(tmp_path: Path) -> None:
    """Deeper than engines nest their groups nobody looks."""
    folder = put(tmp_path.joinpath(*"abcdefghijkl"))
    put(folder / A, memory__current="1\n")
    put(tmp_path, cgroup__controllers="memory\n")
    assert Cgroups(tmp_path).read([A]) == {}


@TREES
def test_what_is_gone_or_odd_is_left_out(tree: Callable[[Path], Path], tmp_path: Path) -> None:
    """A container that ended between two looks, that never was, or whose files say nothing."""
    groups = Cgroups(tree(tmp_path))
    assert groups.read([A, GONE]).keys() == {A}
    for file in [*tmp_path.rglob("cpu.stat"), *tmp_path.rglob("cpuacct.usage")]:
        file.unlink()
    assert groups.read([A, B]) == {}
    for file in [*tmp_path.rglob("memory.current"), *tmp_path.rglob("memory.usage_in_bytes")]:
        file.write_text("much")
    assert groups.read([A]) == {}


@pytest.mark.parametrize(
    ("tree", "file", "said"), [(unified, "memory.reclaim", "1000"), (separate, "memory.force_empty", "0")]
)
def test_a_group_is_emptied(tree: Callable[[Path], Path], file: str, said: str, tmp_path: Path) -> None:
    """Version 2 is told how much there is, version 1 to empty the group; a container that is gone is no error."""
    groups = Cgroups(tree(tmp_path))
    groups.reclaim(A)
    groups.reclaim(GONE)
    assert {path.parent.name: path.read_text() for path in tmp_path.rglob(file) if path.read_text()} == {
        next(path.parent.name for path in tmp_path.rglob(file) if A in path.parent.name): said
    }


@TREES
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EACCES, errno.EROFS, errno.ENOMEM])
def test_the_kernels_refusals(
    tree: Callable[[Path], Path], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That not all was pushed out is ordinary; that we may not is said; the rest is an error."""
    groups = Cgroups(tree(tmp_path))
    groups.read([A])

    def refuse(path: Path, value: str) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cgroups, "_write", refuse)
    ordinary = {errno.EBUSY, errno.EINTR} | ({errno.EAGAIN} if groups.unified else set())
    if code in ordinary:
        groups.reclaim(A)
    elif code in {errno.EACCES, errno.EROFS}:
        with pytest.raises(CgroupsUnusable, match="this user may not write to control groups"):
            groups.reclaim(A)
    else:
        with pytest.raises(OSError, match=os.strerror(code)):
            groups.reclaim(A)


def test_a_kernel_without_reclaim(tmp_path: Path) -> None:
    """The file is not there although the group is; a group that went away meanwhile is no error."""
    groups = Cgroups(unified(tmp_path))
    for file in tmp_path.rglob("memory.reclaim"):
        file.unlink()
    with pytest.raises(CgroupsUnusable, match="this kernel cannot"):
        groups.reclaim(A)
    groups.read([A])
    shutil.rmtree(tmp_path / "system.slice" / f"docker-{A}.scope")
    groups.reclaim(A)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_kernel_before_reclaim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, interrupted: bool) -> None:
    """The limit that slows is set to nothing and put back as it was, also where a signal comes between."""
    groups = Cgroups(unified(tmp_path))
    for file in tmp_path.rglob("memory.reclaim"):
        file.unlink()
    high = tmp_path / "system.slice" / f"docker-{A}.scope" / "memory.high"
    high.write_text("max\n")
    written: list[tuple[str, str]] = []
    write = cgroups._write

    def keep(path: Path, value: str) -> None:
        write(path, value)
        written.append((path.name, value))
        if interrupted and value == "0":
            raise InterruptedError(errno.EINTR, "a signal")

    monkeypatch.setattr(cgroups, "_write", keep)
    groups.reclaim(A)
    assert written == [("memory.high", "0"), ("memory.high", "max")]


def test_why_nothing_can_be_reclaimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No controller, or no right to write; empty where it may work."""
    assert Cgroups(tmp_path).why_not() == "there is no memory controller"
    assert Cgroups(unified(tmp_path)).why_not() == ""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert Cgroups(tmp_path).why_not() == "this user may not write to control groups"


@pytest.mark.docker
def test_on_this_machines_own() -> None:
    """A real container's group is found, read and emptied by the kernel."""
    with filled_container() as container:
        groups = Cgroups()
        before = groups.read([container])[container]
        assert before.resident > 32 * 1024**2
        assert before.cpu > 0
        groups.reclaim(container)
        after = groups.read([container])[container]
        assert after.resident < before.resident / 2


def test_where_systemds_groups_begin(tmp_path: Path) -> None:
    """At the top; in a container that sees the machine's groups, below its own."""
    first = tmp_path / "cgroup"
    assert systemd_root(first) == ""
    for text, root in (
        ("0::/init.scope\n", ""),
        ("9:name=systemd:/docker/abc/init.scope\n4:memory:/docker/abc\n0::/x\n", "/docker/abc"),
        ("4:memory:/\n", ""),
    ):
        first.write_text(text)
        assert systemd_root(first) == root


def test_containers_in_a_container(tmp_path: Path) -> None:
    """A machine in a container holds containers of its own."""
    put(tmp_path, cgroup__controllers="cpu memory\n")
    files = {"memory__current": "1000\n", "cpu__stat": "usage_usec 1000000\n"}
    inner = put(tmp_path / f"docker-{A}.scope", **files) / "binderlet.slice" / f"docker-{B}.scope"
    put(inner, **files)
    assert set(Cgroups(tmp_path).read([A, B])) == {A, B}
