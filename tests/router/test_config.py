"""HAProxy's configuration as text."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from binderlet.router.config import (
    MAP,
    NOTES,
    Others,
    Plan,
    Proxies,
    Tls,
    bind_address,
    fingerprint_of,
    max_connections,
    quote,
    render,
)
from binderlet.router.error_pages import ErrorPages, default_pages
from binderlet.router.process import find_program

PLAN = Plan(host="127.0.0.1", port=8585, control_socket="control.sock", pages=default_pages())


def test_fingerprint_follows_the_text() -> None:
    """The same plan gives the same fingerprint; each change, also of a page alone, gives another."""
    plans = [
        PLAN,
        replace(PLAN, port=8586),
        replace(PLAN, secure=True),
        replace(PLAN, user="haproxy:haproxy"),
        replace(PLAN, pages=ErrorPages(gone="x", session_down="y", control_down="z")),
    ]
    assert render(PLAN) == render(replace(PLAN))
    marks = {fingerprint_of(render(plan)) for plan in plans}
    assert len(marks) == len(plans)
    assert all(len(mark) == 16 for mark in marks)


def test_choices_reach_the_text() -> None:
    """Each choice of the plan has its line."""
    text = render(
        replace(PLAN, host="0.0.0.0", port=80, secure=True, max_connections=77, threads=3, user="nobody:nogroup")
    )
    for line in (
        "bind 0.0.0.0:80",
        "set-header X-Forwarded-Proto https",
        "maxconn 77",
        "nbthread 3",
        "user nobody",
        "group nogroup",
        "server control 'unix@control.sock'",
    ):
        assert line in text
    assert "user " not in render(PLAN).replace("/user", "")
    assert "X-Forwarded-Proto http\n" in render(PLAN)


def test_without_cross_origin_header() -> None:
    """An empty setting sends no Access-Control-Allow-Origin."""
    assert "Access-Control-Allow-Origin '*'" in render(PLAN)
    assert "Access-Control-Allow-Origin" not in render(replace(PLAN, cors_allow_origin=""))


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("0.0.0.0", "0.0.0.0:80"),
        ("localhost", "localhost:80"),
        ("::", "[::]:80 v4v6"),
        ("[::1]", "[::1]:80"),
        ("2001:db8::1", "[2001:db8::1]:80"),
    ],
)
def test_bind_address(host: str, line: str) -> None:
    """IPv6 addresses get their brackets, and the any-address takes IPv4 too."""
    assert bind_address(host, 80) == line


@pytest.mark.parametrize(("open_files", "connections"), [(256, 50), (1024, 412), (20000, 8000), (1_000_000, 8000)])
def test_max_connections(open_files: int, connections: int) -> None:
    """Two files per connection and some to spare, within reason."""
    assert max_connections(open_files) == connections


def test_quote() -> None:
    """A single quote inside a quoted word survives."""
    assert quote("it's") == "'it'\"'\"'s'"


@pytest.mark.haproxy
@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        replace(PLAN, host="::", secure=True, cors_allow_origin=""),
        replace(PLAN, host="::1", cors_allow_origin="https://it's.example"),
        replace(PLAN, proxies=Proxies(("10.0.0.0/8", "fd00::/8"))),
        replace(PLAN, proxies=Proxies(("10.0.0.0/8",), proxy_protocol=True)),
    ],
)
def test_haproxy_accepts_it(plan: Plan, tmp_path: Path) -> None:
    """HAProxy reads the configuration without a warning."""
    for name, page in plan.pages.by_file().items():
        (tmp_path / name).write_text(page)
    (tmp_path / "routes.map").touch()
    (tmp_path / "haproxy.cfg").write_text(render(plan))
    done = subprocess.run(
        ["haproxy", "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_https_that_a_proxy_has_ended() -> None:
    """Who came to a trusted proxy by https is not sent to https again; nobody else can say so."""
    text = render(replace(PLAN, tls=Tls(443), proxies=Proxies(("10.0.0.0/8",))))
    assert "acl tls var(txn.scheme) -m str https" in text
    assert text.index("set-var(txn.scheme)") < text.index("redirect code 308")
    assert "txn.scheme" not in render(replace(PLAN, tls=Tls(443)))


@pytest.mark.haproxy
def test_one_of_several(tmp_path: Path) -> None:
    """One of several has a door for the others, passes on what it does not know, and HAProxy takes it."""
    text = render(replace(PLAN, others=Others(port=8586, secret="a1b2")))
    assert "bind 127.0.0.1:8586" in text
    assert "use_backend leader if led" in text
    assert "leader" not in render(PLAN)
    for name in (MAP, NOTES):
        (tmp_path / name).touch()
    for name, page in PLAN.pages.by_file().items():
        (tmp_path / name).write_text(page)
    (tmp_path / "haproxy.cfg").write_text(text)
    command = [find_program("haproxy"), "-c", "-f", "haproxy.cfg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"WARNING" not in done.stderr
