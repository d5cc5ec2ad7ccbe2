"""A package index with TLS, whose authority nobody knows who was not told of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.ports import free_ports

SERVER = """
import functools, http.server, ssl, sys
folder, port, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
server = http.server.ThreadingHTTPServer(("", int(port)), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class PackageIndex:
    """Where it is, and what has to be trusted for it."""

    url: str
    authority: Path
    log: Path
    """What was asked for."""


@contextmanager
def package_index(folder: Path, *, host: str, enter: Sequence[str] = ()) -> Iterator[PackageIndex]:
    """Serve what ``wheels.write_index`` wrote below ``folder / "files"``.

    ``host`` is the address that it is asked by, and ``enter`` a command that runs it elsewhere.
    """
    _certificates(folder, host)
    [port] = free_ports(1)
    arguments = (str(folder / "files"), str(port), str(folder / "server.crt"), str(folder / "key"))
    log = folder / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen([*enter, sys.executable, "-c", SERVER, *arguments], stdout=output, stderr=output) as process,
    ):
        try:
            _wait(host, port, process)
            yield PackageIndex(f"https://{host}:{port}/simple/", folder / "ca.crt", log)
        finally:
            process.terminate()
            process.wait()


def _certificates(folder: Path, host: str) -> None:
    request = ("openssl", "req", "-x509", "-days", "2")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "key"))
    authority = (*request, *new_key, "-subj", "/CN=tests", "-out", str(folder / "ca.crt"))
    signed = ("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "key"), "-key", str(folder / "key"))
    server = (
        *(*request, *signed, "-subj", "/CN=index", "-out", str(folder / "server.crt")),
        *("-addext", f"subjectAltName=IP:{host}", "-addext", "basicConstraints=critical,CA:FALSE"),
    )
    for command in (authority, server):
        subprocess.run(command, check=True, capture_output=True)


def _wait(host: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError:
            assert process.poll() is None, "the package index did not start"
            assert time.monotonic() < deadline, "the package index does not answer"
            time.sleep(0.05)
        else:
            return
