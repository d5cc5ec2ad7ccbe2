"""What is seen on a machine: real programs, sockets and ports."""

from __future__ import annotations

import http.server
import json
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from binderlet.config import Settings
from binderlet.config.network import NetworkEnvironment
from binderlet.database import connect
from binderlet.deploy import doctor_probes
from binderlet.deploy.doctor import EngineFacts, evaluate
from binderlet.deploy.doctor_probes import (
    clock_synchronised,
    databases,
    engine_facts,
    engine_get,
    existing,
    gather,
    holder_of,
    number_in,
    old_client,
    places,
    port_facts,
    program_version,
    reach_error,
    reaches,
    run,
)
from binderlet.finding import Finding

DOCKER = {"/version": {"Version": "20.10.24", "Components": [{"Name": "Engine"}]}, "/info": {"Driver": "overlay2"}}
PODMAN = {"/version": {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}, "/info": {}}
DIRECT = NetworkEnvironment()


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """An HTTP server on a unix socket."""

    daemon_threads = True


def answering(answers: dict[str, Any]) -> type[http.server.BaseHTTPRequestHandler]:
    """A handler that answers each path with JSON."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers, and says nothing."""

        def do_GET(self) -> None:
            """Answer a GET."""
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            """Answer a HEAD as a server does that does not want it."""
            self.send_error(403)

        def address_string(self) -> str:
            """Unix sockets have no address."""
            return ""

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    return Handler


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(**sections: Any) -> Settings:  # noqa: ANN401 - a table of settings
    """Settings of these sections."""
    return Settings.model_validate(sections)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts scripts on an otherwise empty search path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, script: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return add


def test_gather(tmp_path: Path) -> None:
    """A real machine gives facts that can be judged, without an engine and without the network."""
    found = gather(settings(engine={"kind": "fake"}, paths={"state": tmp_path / "not" / "yet"}), environ={})
    assert found.disk_path == str(tmp_path)
    assert found.memory > 0
    assert found.reaches is None
    assert not found.needs_engine
    assert evaluate(found)


def test_gather_with_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sessions run in a cluster it is looked at, first of all; this machine's places say nothing then."""
    monkeypatch.setattr(
        doctor_probes, "look_at_node", lambda _settings, _memory: [Finding("node", "ok", "as it should")]
    )
    (tmp_path / "kubeconfig").write_text("no cluster")
    chosen = {"kubeconfig": str(tmp_path / "kubeconfig")}
    found = gather(settings(engine={"kind": "kubernetes"}, kubernetes=chosen, limits={"sessions": 7}), environ={})
    assert found.places == ""
    node, cluster = evaluate(found)[:2]
    assert node.check == "node"
    assert (cluster.check, cluster.level) == ("cluster", "fail")
    assert "kubeconfig" in cluster.seen


def test_databases(tmp_path: Path) -> None:
    """Those that this program cannot use are told, with what to do; good ones and none say nothing."""
    assert list(databases(tmp_path)) == []
    path = tmp_path / "history.sqlite"
    with connect(path) as database:
        database.execute("PRAGMA user_version = 1")
        assert list(databases(tmp_path)) == []
        database.execute("PRAGMA user_version = 1002")
    (found,) = databases(tmp_path)
    assert (found.check, found.level) == ("history.sqlite", "fail")
    assert "binderlet migrate" in found.mend
    path.write_bytes(b"no database" * 100)
    (found,) = gather(settings(engine={"kind": "fake"}, paths={"state": tmp_path}), environ={}).databases
    assert (found.check, found.level) == ("databases", "fail")


def test_places(tmp_path: Path) -> None:
    """As many as the settings say, or what this machine holds and why; nothing where the kernel does not tell."""
    assert places(settings(limits={"sessions": 7})) == "7 sessions, limited by limits.sessions"
    assert re.fullmatch(r"\d+ sessions, limited by (memory|swap|cpu)", places(settings()))
    assert places(settings(), tmp_path) == ""


def test_gather_with_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the network, what builds need is tried as well."""
    monkeypatch.setattr(doctor_probes, "reach_error", lambda _url, _network: "")
    monkeypatch.setattr(doctor_probes, "default_index_error", lambda _network: "")
    found = gather(settings(engine={"kind": "fake"}), network=True)
    assert [reach.name for reach in found.reaches or ()] == ["package index", "Debian mirror", "gh repositories"]


@pytest.mark.parametrize(
    ("answers", "name", "driver"), [(DOCKER, "Docker 20.10.24", "overlay2"), (PODMAN, "Podman 4.3.1", "")]
)
def test_engine(tmp_path: Path, answers: dict[str, Any], name: str, driver: str) -> None:
    """The engine says what it is."""
    place = tmp_path / "engine.sock"
    with serving(UnixServer(str(place), answering(answers))):
        found = engine_facts(settings(engine={"socket": str(place)}), {})
    assert (found.place, found.name, found.storage_driver, found.error) == (str(place), name, driver, "")


def test_engine_by_tcp() -> None:
    """An engine on a TCP port is asked as well."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering(DOCKER))
    with serving(server):
        assert engine_get(f"tcp://127.0.0.1:{server.server_port}", "/info") == DOCKER["/info"]


def test_no_engine(tmp_path: Path) -> None:
    """An engine that cannot be found or does not answer is an error with a hint, not an exception."""
    place = tmp_path / "engine.sock"
    assert engine_facts(settings(engine={"socket": str(place)}), {}).error
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place))
        found = engine_facts(settings(engine={"socket": str(place)}), {})
    assert "does not answer" in found.error
    assert found.hint
    assert engine_facts(settings(), {"DOCKER_HOST": "nonsense"}).error
    assert engine_facts(settings(engine={"kind": "fake"}), {}) == EngineFacts()


def test_not_an_engine(tmp_path: Path) -> None:
    """Something else that answers is no engine."""
    place = tmp_path / "engine.sock"
    with serving(UnixServer(str(place), answering({"/version": [1]}))):
        assert "not a container engine" in engine_facts(settings(engine={"socket": str(place)}), {}).error


def test_engine_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that we may not open gives the hint that helps."""

    def denied(_place: str, _path: str) -> dict[str, Any]:
        raise PermissionError(13, "Permission denied")

    place = tmp_path / "engine.sock"
    monkeypatch.setattr(doctor_probes, "engine_get", denied)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place))
        assert "usermod -aG docker" in engine_facts(settings(engine={"socket": str(place)}), {}).hint


def test_buildx(tmp_path: Path, bin_folder: Callable[[str, str], Path]) -> None:
    """The buildx plugin's version is found."""
    bin_folder("docker", "echo github.com/docker/buildx v0.13.1 788433953af10f2a")
    place = tmp_path / "engine.sock"
    with serving(UnixServer(str(place), answering(DOCKER))):
        assert engine_facts(settings(engine={"socket": str(place)}), {}).buildx == "0.13.1"


def test_old_client(bin_folder: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker command older than 23 is found, wherever on the search path it is."""
    bin_folder("docker", "echo Docker version 20.10.24+dfsg1, build 297e128")
    assert old_client() == "20.10.24+dfsg1"
    bin_folder("docker", "echo Docker version 28.0.1, build 068a01e")
    monkeypatch.setattr(doctor_probes, "OTHER_FOLDERS", ())
    assert old_client() == ""


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo HAProxy version 2.6.12-1+deb12u4 2026/01/01", "2.6.12-1+deb12u4"),
        ("echo git version 2.39.5 >&2", "2.39.5"),
        ("echo unknown; echo more", "unknown"),
        ("exit 1", "installed, but it does not tell its version"),
    ],
)
def test_program_version(bin_folder: Callable[[str, str], Path], script: str, version: str) -> None:
    """A program's version is found in what it prints."""
    bin_folder("some-program", script)
    assert program_version("some-program", "-v") == version


def test_missing_program(bin_folder: Callable[[str, str], Path]) -> None:
    """A program that is not there has no version."""
    assert program_version("some-program", "-v") is None


def test_program_outside_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of the administrator are found though users do not have their folder on the search path."""
    (tmp_path / "haproxy").write_text("#!/bin/sh\necho HAProxy version 2.6.12\n")
    (tmp_path / "haproxy").chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(doctor_probes, "ADMINISTRATORS", tmp_path)
    assert program_version("haproxy", "-v") == "2.6.12"


def test_slow_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that hangs is given up."""
    monkeypatch.setattr(doctor_probes, "TIMEOUT", 0.1)
    assert run(sys.executable, "-c", "import time; time.sleep(10)") is None


def test_numbers(tmp_path: Path) -> None:
    """Numbers of the kernel are read; what cannot be is None."""
    (tmp_path / "n").write_text("8192\n")
    (tmp_path / "x").write_text("max\n")
    assert [number_in(tmp_path / name) for name in ("n", "x", "gone")] == [8192, None, None]
    assert existing(tmp_path / "gone" / "deeper") == tmp_path


def test_free_port() -> None:
    """A free port is free."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number = sock.getsockname()[1]
    found = port_facts(settings(server={"host": "127.0.0.1", "port": number}))
    assert (found.free, found.address) == (True, f"127.0.0.1:{number}")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_held_port(host: str, tmp_path: Path) -> None:
    """A port that is held names who holds it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        sock.listen()
        found = port_facts(settings(server={"host": host, "port": sock.getsockname()[1]}, paths={"state": tmp_path}))
    assert (found.free, found.ours) == (False, False)
    assert f"(process {psutil.Process().pid})" in found.holder


def test_address_of_another_machine(tmp_path: Path) -> None:
    """An address that is not this machine's cannot be listened on, and why is said."""
    found = port_facts(settings(server={"host": "192.0.2.1", "port": 1}, paths={"state": tmp_path}))
    assert (found.free, found.holder) == (False, "Cannot assign requested address")


class Connection(NamedTuple):
    """A listening socket as psutil tells it."""

    pid: int | None
    status: str = psutil.CONN_LISTEN
    laddr: tuple[str, int] = ("0.0.0.0", 8585)


class FakeProcess:
    """A process that listens."""

    def __init__(self, pid: int) -> None:
        if pid == 1:
            raise psutil.NoSuchProcess(pid)

    def name(self) -> str:
        """HAProxy."""
        return "haproxy"

    def cmdline(self) -> list[str]:
        """With its configuration in the state folder."""
        return ["haproxy", "-W", "-f", ".binderlet/haproxy/haproxy.cfg"]

    def cwd(self) -> str:
        """Where the service was started."""
        return "/srv"


def test_own_haproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The HAProxy whose configuration is in our state folder is ours; a process that just ended is passed over."""
    connections = [Connection(pid) for pid in (1, 2, None)]
    monkeypatch.setattr(psutil, "net_connections", lambda **_: connections)
    monkeypatch.setattr(psutil, "Process", FakeProcess)
    assert holder_of(8585, Path("/srv/.binderlet")) == ("haproxy (process 2)", True)
    assert holder_of(8585, Path("/srv/other")) == ("haproxy (process 2)", False)
    assert holder_of(1, Path("/srv")) == ("", False)


def test_holder_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where we may not look, the holder is unknown."""

    def denied(kind: str) -> list[Any]:
        raise psutil.AccessDenied(msg=kind)

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert holder_of(80, Path("/srv")) == ("", False)


@pytest.mark.parametrize(("script", "known"), [("echo yes", True), ("echo no", False), ("exit 1", None)])
def test_clock(bin_folder: Callable[[str, str], Path], script: str, known: bool | None) -> None:  # noqa: FBT001 - a table
    """The system knows whether the clock is synchronised, where it is."""
    bin_folder("timedatectl", script)
    assert clock_synchronised() is known


def test_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried follows the settings, and passwords in URLs are masked."""
    monkeypatch.setattr(doctor_probes, "reach_error", lambda url, _network: "down" if "mirror" in url else "")
    chosen = settings(builder={"base_mirror": "http://mirror/debian"}, providers={"gh": {"enabled": False}})
    found = list(reaches(chosen, NetworkEnvironment(index_url="https://me:hunter2@index/simple")))
    assert [(reach.name, reach.error) for reach in found] == [("package index", ""), ("Debian mirror", "down")]
    assert "hunter2" not in found[0].url


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("pass", ""),
        (
            "sys.exit('WARNING: x\\nERROR: No matching distribution found for pip')",
            "ERROR: No matching distribution found for pip",
        ),
        ("sys.exit(1)", "pip cannot read it"),
        ("import time; time.sleep(20)", "it does not answer in time"),
    ],
)
def test_default_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str) -> None:
    """Where no index is set, pip asks its own, with what builds get and nothing of this machine's."""
    seen = tmp_path / "seen"
    program = tmp_path / "python"
    record = (
        f"import json, os, sys; open({str(seen)!r}, 'w').write(json.dumps([sys.argv[1:], dict(os.environ)])); {script}"
    )
    program.write_text(f"#!{sys.executable}\n{record}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(doctor_probes, "INDEX_TIMEOUT", 2.0)
    network = NetworkEnvironment(https_proxy="http://proxy:1", ca_bundle=Path("/ca.pem"))
    assert doctor_probes.default_index_error(network) == error
    arguments, environment = json.loads(seen.read_text())
    assert arguments == ["-m", "pip", "index", "versions", "pip"]
    assert (environment["HTTPS_PROXY"], environment["PIP_CERT"]) == ("http://proxy:1", "/ca.pem")
    assert environment["PIP_CONFIG_FILE"] == "/dev/null"


def test_default_index_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pip nothing is said of its index."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(doctor_probes, "reach_error", lambda _url, _network: "")
    assert [reach.name for reach in reaches(settings(), DIRECT)] == ["Debian mirror", "gh repositories"]


def test_reach() -> None:
    """Whatever answers is reached, even if it refuses; what does not answer says why."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering({}))
    url = f"http://127.0.0.1:{server.server_port}/"
    with serving(server):
        assert reach_error(url, DIRECT) == ""
        assert reach_error("http://behind.invalid/", NetworkEnvironment(http_proxy=url)) == ""
    assert "refused" in reach_error(url, DIRECT)


def test_reach_unknown_name() -> None:
    """A name that cannot be looked up is told apart from a host that does not answer."""
    assert reach_error("http://nowhere.invalid/", DIRECT).startswith("nowhere.invalid cannot be looked up: ")


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ValueError("nonsense"), None])
def test_reach_other_ends(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """Every other way to fail has words; an answer that is well has none."""

    class Opener:
        """An opener that fails, or does not."""

        def open(self, _request: object, timeout: float) -> Any:  # noqa: ANN401 - a context manager
            """Open it."""
            if error is not None:
                raise error
            return contextmanager(lambda: iter([timeout]))()

    monkeypatch.setattr("urllib.request.build_opener", lambda *_: Opener())
    assert reach_error("http://x/", DIRECT) == (str(error) if error else "")
