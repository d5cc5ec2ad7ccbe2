"""A real ACME authority on the loopback: Caddy's, which asks for tokens as a public one does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.upstreams import free_port

SITE = "127.0.53.80"
"""The loopback address that the names in tests lead to, as the authority insists on port 80."""


@dataclass(frozen=True, slots=True)
class AcmeServer:
    """Where it is, and whom to trust."""

    directory: str
    root: Path


@contextmanager
def acme_server(folder: Path, names: Mapping[str, str]) -> Iterator[AcmeServer]:
    """Run the authority until the block ends; ``names`` is what it finds in the DNS, name to address."""
    port, admin = free_port(), free_port()
    config, hosts = folder / "Caddyfile", folder / "hosts"
    config.write_text(
        f"{{\n admin localhost:{admin}\n storage file_system {folder}/caddy\n skip_install_trust\n"
        f" auto_https disable_redirects\n}}\n"
        f"https://localhost:{port} {{\n tls internal\n acme_server {{\n  lifetime 6d\n }}\n}}\n"
    )
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in names.items()))
    caddy = Path(sys.executable).with_name("caddy")
    log = folder / "caddy.log"
    # A mount namespace of its own gives it a hosts file of its own.
    script = f'mount --bind "{hosts}" /etc/hosts && exec "{caddy}" run --config "{config}"'
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script],
            stdout=out,
            stderr=out,
            env=os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )
    try:
        root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        directory = f"https://localhost:{port}/acme/local/directory"
        _await_answer(port, root, log)
        yield AcmeServer(directory, root)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _await_answer(port: int, root: Path, log: Path) -> None:
    for _ in range(600):
        if root.exists():
            context = ssl.create_default_context(cafile=root)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
                context.wrap_socket(plain, server_hostname="localhost").close()
                return
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


def certificate_of(address: str, port: int, name: str) -> bytes:
    """Give the certificate that a server shows to who asks for that name, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"").encode()
