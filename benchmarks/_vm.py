"""A bare machine in a container, made a service as its operator would."""

from __future__ import annotations

import json
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from binderlet.router.certificate import make_self_signed
from support.vm import CA, Machine, bootstrap, docker, machine, make_wheel, remove_base

SITE = "127.0.53.91"
OPTIONS = (
    "--no-swap --no-firewall --no-updates --set standby.enabled=false --set builder.min_free_disk=0 "
    f"--set server.host={SITE} --set server.public_url=http://{SITE}/ --set server.instance=vm-figure "
    "--set builder.image_prefix=binderlet-vm/i-"
)
"""Swap, firewall and updates would change this machine; names and address keep out of others' way."""
EXAMPLE = "file:///var/lib/binderlet/example"


@contextmanager
def bare_machine(*, bare: bool = False) -> Iterator[tuple[Machine, Path]]:
    """Boot a machine, with most packages that the service needs unless ``bare``, and build this checkout's release."""
    with tempfile.TemporaryDirectory(prefix="bl-wheel-") as folder, machine(bare=bare) as vm:
        yield vm, make_wheel(Path(folder))


@contextmanager
def nothing_prepared(vm: Machine, folder: Path) -> Iterator[str]:
    """Hide the Debian part of base images that this engine has, so that a new machine's work is done in full.

    Gives an option that makes the rest anew, too: a certificate of its own. What was made is removed at the end.
    """
    bundle = folder / "bundle.pem"
    end = b"-----END CERTIFICATE-----\n"
    own = make_self_signed(("figure.test",), time.time()).pem
    own = own[own.index(b"-----BEGIN CERTIFICATE") :].partition(end)[0] + end
    bundle.write_bytes(Path(CA).read_bytes() + own)
    hidden = docker("images", "--format", "{{.Repository}}:{{.Tag}}", "binderlet/base-system").split()
    for name in hidden:
        docker("tag", name, f"figure-{name}")
        docker("rmi", name)
    try:
        yield f"--set network.ca_bundle={vm.put(bundle, '/etc/ssl/')}"
    finally:
        if name := vm.base():
            remove_base(name)
        for name in hidden:
            docker("tag", f"figure-{name}", name)
            docker("rmi", f"figure-{name}")


def install_command(vm: Machine, wheel: Path) -> str:
    """Put the program on the machine; gives the one command that a person types then."""
    return f"{bootstrap(vm, wheel)} {OPTIONS}"


def launch(vm: Machine) -> str:
    """Launch the example; gives the address of its session's stream of events, token included."""
    spec = f"{urllib.parse.quote(EXAMPLE, safe='')}/HEAD"
    said = vm.must(f"binderlet launch --json --provider git '{spec}'")
    ready = json.loads(said[said.index("{") :])
    return f"{ready['url']}api/events/subscribe?token={ready['token']}"
