"""K3s on a bare machine: its files, decided and written, and its installer."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from binderlet.config import Settings
from binderlet.deploy import k3s
from binderlet.deploy.install.units import SYSCTL
from binderlet.deploy.k3s import File, Join, Wish
from binderlet.errors import ConfigError, LaunchFailed, ProviderUnavailable

GIB = 2**30
JOIN = Join("https://10.0.0.1:6443", "K10secret")


def settings(**sections: object) -> Settings:
    """Give settings."""
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    ("memory", "request_", "pods"),
    [(2 * GIB, 450 * 2**20, 60), (64 * GIB, 450 * 2**20, 165), (1024 * GIB, 450 * 2**20, 500), (GIB, 0, 500)],
)
def test_pods_by_memory(memory: int, request_: int, pods: int) -> None:
    """A node takes what its memory holds, within sensible limits."""
    assert k3s.max_pods(memory, request_) == pods


def test_server() -> None:
    """A server has K3s without what would take the visitors' ports, with secrets encrypted, and room for many pods."""
    assert k3s.config() == {
        "disable": ["traefik", "servicelb"],
        "write-kubeconfig-mode": "0600",
        "secrets-encryption": True,
        "kube-controller-manager-arg": ["node-cidr-mask-size=22"],
        "kubelet-arg": ["config=/etc/rancher/k3s/kubelet.yaml"],
    }


def test_node() -> None:
    """A node that joins has the server's address and token, and the same kubelet."""
    assert k3s.config(JOIN) == {
        "server": "https://10.0.0.1:6443",
        "token": "K10secret",
        "kubelet-arg": ["config=/etc/rancher/k3s/kubelet.yaml"],
    }


def test_kubelet() -> None:
    """The kubelet limits processes, which pods cannot, lets sessions swap, and clears images in time."""
    made = k3s.kubelet(settings(session={"pids": 300, "memory": "256M"}), 16 * GIB)
    assert made == {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": 84,
        "podPidsLimit": 300,
        "imageGCHighThresholdPercent": 75,
        "imageGCLowThresholdPercent": 60,
        "failSwapOn": False,
        "memorySwap": {"swapBehavior": "LimitedSwap"},
        "serializeImagePulls": False,
    }


LOCAL = {"mirrors": {"localhost:5000": {"endpoint": ["http://localhost:5000"]}}}
AUTH = {"auth": {"username": "me", "password": "pass"}}
TIER = {"url": "https://registry.example.org/binder/", "username": "me", "password": "pass"}


@pytest.mark.parametrize(
    ("prefix", "delivery", "tier", "expected"),
    [
        ("localhost:5000/i-", "push", {}, LOCAL),
        ("registry.example.org/i-", "push", {}, {}),
        ("registry.example.org/i-", "push", TIER, {"configs": {"registry.example.org": AUTH}}),
        ("other.example.org/i-", "push", TIER, {}),
        (
            "registry.example.org:5000/i-",
            "push",
            TIER | {"url": "http://registry.example.org:5000/"},
            {
                "mirrors": {"registry.example.org:5000": {"endpoint": ["http://registry.example.org:5000"]}},
                "configs": {"registry.example.org:5000": AUTH},
            },
        ),
        ("localhost:5000/i-", "import", {}, {}),
        ("binderlet/i-", "push", {}, {}),
        ("binderlet/i-", "push", TIER, {"configs": {"registry.example.org": AUTH}}),
    ],
)
def test_registry(prefix: str, delivery: str, tier: dict[str, Any], expected: dict[str, Any]) -> None:
    """Nodes learn what they cannot guess of the registry: that it has no HTTPS, or wants a password."""
    chosen = settings(builder={"image_prefix": prefix}, kubernetes={"delivery": delivery}, registry=tier)
    assert k3s.registries(chosen) == expected


def test_registry_with_an_authority_of_its_own() -> None:
    """Nodes trust what builds trust, where HTTPS is spoken at all."""
    trust = {"ca_bundle": "/etc/ssl/own.pem"}
    chosen = settings(builder={"image_prefix": "registry.example.org/i-"}, network=trust)
    assert k3s.registries(chosen) == {"configs": {"registry.example.org": {"tls": {"ca_file": "/etc/ssl/own.pem"}}}}
    assert k3s.registries(settings(builder={"image_prefix": "localhost:5000/i-"}, network=trust)) == LOCAL


def test_files_of_a_server() -> None:
    """A server also gets what the cluster is prepared with; files with secrets are for root alone."""
    found = {str(file.path): file for file in k3s.files(settings(), 16 * GIB)}
    assert {path: oct(file.mode) for path, file in found.items()} == {
        "/etc/rancher/k3s/config.yaml": "0o600",
        "/etc/rancher/k3s/kubelet.yaml": "0o644",
        "/etc/sysctl.d/90-binderlet-k3s.conf": "0o644",
        "/var/lib/rancher/k3s/server/manifests/binderlet.yaml": "0o600",
    }
    prepared = list(yaml.safe_load_all(found["/var/lib/rancher/k3s/server/manifests/binderlet.yaml"].text))
    assert "ResourceQuota" in {each["kind"] for each in prepared}
    assert yaml.safe_load(found["/etc/rancher/k3s/config.yaml"].text)["secrets-encryption"] is True
    kernel = found["/etc/sysctl.d/90-binderlet-k3s.conf"].text.splitlines()
    assert set(kernel) <= set(SYSCTL.splitlines()), "on one machine with the service, neither lowers the other's"


def test_files_of_a_node() -> None:
    """A node prepares no cluster."""
    chosen = settings(builder={"image_prefix": "localhost:5000/i-"})
    names = [file.path.name for file in k3s.files(chosen, 16 * GIB, JOIN)]
    assert names == ["config.yaml", "kubelet.yaml", "90-binderlet-k3s.conf", "registries.yaml"]


def test_our_settings_are_right() -> None:
    """What is printed for binderlet.toml can be read, and names what the manifests make."""
    import tomllib  # noqa: PLC0415 - only here

    chosen = Settings.model_validate(tomllib.loads(k3s.our_settings()))
    made = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(k3s.manifests())}
    assert {("Namespace", chosen.kubernetes.namespace), ("PriorityClass", chosen.kubernetes.priority_class)} <= made


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    """Writing again changes nothing; a file that was changed, in text or mode, is put right."""
    wanted = [File(Path("/etc/a/one"), "1\n", 0o600), File(Path("/etc/two"), "2\n")]
    assert k3s.changed(wanted, tmp_path) == wanted
    k3s.apply(wanted, tmp_path)
    assert k3s.changed(wanted, tmp_path) == []
    assert (tmp_path / "etc/a/one").stat().st_mode & 0o777 == 0o600
    (tmp_path / "etc/a/one").chmod(0o644)
    (tmp_path / "etc/two").write_text("other")
    assert k3s.changed(wanted, tmp_path) == wanted
    k3s.apply(wanted, tmp_path)
    assert (tmp_path / "etc/two").read_text() == "2\n"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["one", "two"]


def test_cannot_write(tmp_path: Path) -> None:
    """A folder that cannot be made is told, with what to do."""
    (tmp_path / "etc").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        k3s.apply([File(Path("/etc/a"), "")], tmp_path)
    assert "root" in caught.value.hint


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """An installer that writes down what it was told."""
    path = tmp_path / "install.sh"
    path.write_text('#!/bin/sh\nset -e\n[ "$INSTALL_K3S_EXEC" != fail ]\nenv | grep ^INSTALL >"$(dirname "$0")/told"\n')
    return path


def test_installer_is_told(installer: Path) -> None:
    """K3s's installer learns role and release, and not to download where everything is here."""
    wish = Wish("v1.33.4+k3s1", "stable", download=False, restart=True)
    k3s.run_installer(installer, "agent", wish, environment={"PATH": "/usr/bin:/bin"})
    assert sorted((installer.parent / "told").read_text().split()) == [
        "INSTALL_K3S_EXEC=agent",
        "INSTALL_K3S_FORCE_RESTART=true",
        "INSTALL_K3S_SKIP_DOWNLOAD=true",
        "INSTALL_K3S_VERSION=v1.33.4+k3s1",
    ]
    k3s.run_installer(installer, "server", Wish(channel="v1.33"), environment={"PATH": "/usr/bin:/bin"})
    assert sorted((installer.parent / "told").read_text().split()) == [
        "INSTALL_K3S_CHANNEL=v1.33",
        "INSTALL_K3S_EXEC=server",
    ]
    k3s.run_installer(installer, "server")
    assert "INSTALL_K3S_EXEC=server\n" in (installer.parent / "told").read_text()


def test_a_program_that_fails() -> None:
    """A program that fails, or is not there, is an error with its name."""
    k3s.run("true")
    with pytest.raises(LaunchFailed, match="'false' failed") as caught:
        k3s.run("false")
    assert "root" in caught.value.hint
    with pytest.raises(LaunchFailed, match="no-such-program"):
        k3s.run("no-such-program")


def test_a_node_is_looked_at(tmp_path: Path) -> None:
    """Files that are not as the settings have them are named, with what mends them; without K3s nothing is."""
    assert k3s.look_at_node(settings(), 16 * GIB, tmp_path) == []
    k3s.apply(k3s.files(settings(), 16 * GIB), tmp_path)
    (found,) = k3s.look_at_node(settings(), 16 * GIB, tmp_path)
    assert (found.level, found.mend) == ("ok", "")
    (found,) = k3s.look_at_node(settings(), 64 * GIB, tmp_path)
    assert found.level == "warn"
    assert found.seen.endswith(": /etc/rancher/k3s/kubelet.yaml")
    assert found.mend == "binderlet k3s install, once more"


def test_a_node_that_joined_is_looked_at(tmp_path: Path) -> None:
    """Its server and token are its own."""
    k3s.apply(k3s.files(settings(), 16 * GIB, JOIN), tmp_path)
    (found,) = k3s.look_at_node(settings(), 16 * GIB, tmp_path)
    assert found.level == "ok"
    (tmp_path / "etc/sysctl.d/90-binderlet-k3s.conf").unlink()
    (found,) = k3s.look_at_node(settings(), 16 * GIB, tmp_path)
    assert found.mend == "binderlet k3s join https://10.0.0.1:6443, once more"


def test_installer_fails(installer: Path) -> None:
    """An installer that fails is an error that says where to look."""
    installer.write_text("exit 3")
    with pytest.raises(LaunchFailed, match="status 3") as caught:
        k3s.run_installer(installer, "server")
    assert "journalctl" in caught.value.hint


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[str]:
    """A server with an installer and something else."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"#!/bin/sh\n" if self.path == "/installer" else b"<html>log in first")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_installer_is_downloaded(tmp_path: Path, pages: str) -> None:
    """The installer is fetched; something else in its place is refused."""
    k3s.fetch_installer(tmp_path / "got", f"{pages}/installer")
    assert (tmp_path / "got").read_bytes() == b"#!/bin/sh\n"
    with pytest.raises(ProviderUnavailable, match="no installer"):
        k3s.fetch_installer(tmp_path / "other", f"{pages}/portal")
    assert not (tmp_path / "other").exists()


def test_no_internet(tmp_path: Path) -> None:
    """Without internet the error says how to do without."""
    with pytest.raises(ProviderUnavailable) as caught:
        k3s.fetch_installer(tmp_path / "got", "http://127.0.0.1:9/")
    assert "--from" in caught.value.hint
