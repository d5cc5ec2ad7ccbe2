"""Where a cluster is found and what a kubeconfig file means."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from binderlet.clients import kubernetes_access as module
from binderlet.clients.kubernetes_access import Access, find_access, read_kubeconfig
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.errors import ConfigError

NOTHING = KubernetesSettings()


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("pems")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "crt"), "-days", "2", "-subj", "/CN=test"]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "crt").read_text(), (folder / "key").read_text()


def kubeconfig(folder: Path, *, cluster: object = None, user: object = None, **changes: object) -> Path:
    """Write a kubeconfig file."""
    content: dict[str, Any] = {
        "current-context": "main",
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "binder"}},
            {"name": "bare", "context": {"cluster": "c"}},
        ],
        "clusters": [{"name": "c", "cluster": cluster or {"server": "https://10.0.0.1:6443/"}}],
        "users": [{"name": "u", "user": {"token": "secret"} if user is None else user}],
        **changes,
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(content))
    return path


def encoded(text: str) -> str:
    """Give text as kubeconfig files hold it."""
    return base64.b64encode(text.encode()).decode()


def test_token(tmp_path: Path) -> None:
    """The current context says server, namespace and token; none of it is printed but the server."""
    access = read_kubeconfig(kubeconfig(tmp_path), NOTHING)
    assert (access.server, access.namespace, access.token) == ("https://10.0.0.1:6443", "binder", "secret")
    assert repr(access) == "Access(https://10.0.0.1:6443, binder)"


def test_settings_win(tmp_path: Path) -> None:
    """A context and a namespace of our settings go before those of the file."""
    access = read_kubeconfig(kubeconfig(tmp_path), KubernetesSettings(context="bare"))
    assert (access.namespace, access.token) == ("default", "")
    assert read_kubeconfig(kubeconfig(tmp_path), KubernetesSettings(namespace="mine")).namespace == "mine"


def test_certificates_inside(tmp_path: Path, pems: tuple[str, str]) -> None:
    """Certificates inside the file are used, and only the cluster's own authority is trusted."""
    certificate, key = map(encoded, pems)
    path = kubeconfig(
        tmp_path,
        cluster={"server": "https://c", "certificate-authority-data": certificate, "tls-server-name": "kubernetes"},
        user={"client-certificate-data": certificate, "client-key-data": key},
    )
    access = read_kubeconfig(path, NOTHING)
    assert access.tls is not None
    assert len(access.tls.get_ca_certs()) == 1
    assert access.server_name == "kubernetes"


def test_certificates_beside(tmp_path: Path, pems: tuple[str, str]) -> None:
    """Names of files are relative to the kubeconfig file's folder."""
    (tmp_path / "crt").write_text(pems[0])
    (tmp_path / "key").write_text(pems[1])
    path = kubeconfig(
        tmp_path,
        cluster={"server": "https://c", "certificate-authority": "crt"},
        user={"client-certificate": "crt", "client-key": "key", "tokenFile": "token"},
    )
    assert read_kubeconfig(path, NOTHING).token_file == tmp_path / "token"


def test_plain_and_unchecked(tmp_path: Path) -> None:
    """Plain HTTP needs no certificates, and checking can be switched off in the file."""
    access = read_kubeconfig(kubeconfig(tmp_path, cluster={"server": "http://127.0.0.1:8001"}), NOTHING)
    assert access.tls is None
    unchecked = {"server": "https://c", "insecure-skip-tls-verify": True}
    tls = read_kubeconfig(kubeconfig(tmp_path, cluster=unchecked), NOTHING).tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user": {"exec": {"command": "aws"}}}, "another program"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "another program"),
        ({"contexts": []}, "'main' in contexts"),
        ({"clusters": None}, "makes sense"),
        ({"cluster": {"server": "https://c", "certificate-authority-data": "!"}}, "makes sense"),
        ({"cluster": {"server": "https://c", "certificate-authority": "absent"}}, "certificates cannot be used"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """What is wrong with a file is said with its name."""
    with pytest.raises(ConfigError, match=said) as caught:
        read_kubeconfig(kubeconfig(tmp_path, **changes), NOTHING)
    assert str(tmp_path) in str(caught.value)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is absent, or no YAML, is said so."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_kubeconfig(tmp_path / "absent", NOTHING)
    (tmp_path / "config").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_kubeconfig(tmp_path / "config", NOTHING)


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting goes before KUBECONFIG, that before the home folder, that before K3s's own file."""

    def place(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        return kubeconfig(folder, cluster={"server": f"http://{name.replace('/', '-')}"})

    k3s = place("k3s")
    monkeypatch.setattr(module, "K3S", k3s)
    home = {"HOME": str(tmp_path / "home")}
    none = tmp_path / "none"
    assert find_access(NOTHING, home, account=none).server == "http://k3s"
    place("home/.kube")
    assert find_access(NOTHING, home, account=none).server == "http://home-.kube"
    variable = {**home, "KUBECONFIG": f"/absent:{place('variable')}"}
    assert find_access(NOTHING, variable, account=none).server == "http://variable"
    setting = KubernetesSettings(kubeconfig=str(place("setting")))
    assert find_access(setting, variable, account=none).server == "http://setting"


def test_no_cluster_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cluster the error names all places where one was looked for."""
    monkeypatch.setattr(module, "K3S", tmp_path / "k3s.yaml")
    with pytest.raises(ConfigError, match=r"k3s\.yaml"):
        find_access(NOTHING, {"HOME": str(tmp_path)}, account=tmp_path)


@pytest.mark.parametrize(
    ("host", "server"), [("10.43.0.1", "https://10.43.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_service_account(tmp_path: Path, pems: tuple[str, str], host: str, server: str) -> None:
    """Inside a pod its service account is used, whose token is read from its file each time."""
    for name, text in (("ca.crt", pems[0]), ("token", "t"), ("namespace", "binder\n")):
        (tmp_path / name).write_text(text)
    access = find_access(NOTHING, {"KUBERNETES_SERVICE_HOST": host}, account=tmp_path)
    assert (access.server, access.namespace, access.token_file) == (server, "binder", tmp_path / "token")
    other = find_access(KubernetesSettings(namespace="x"), {"KUBERNETES_SERVICE_HOST": host}, account=tmp_path)
    assert other.namespace == "x"


def test_service_account_that_is_broken(tmp_path: Path) -> None:
    """A service account without its files is said so."""
    (tmp_path / "token").write_text("t")
    with pytest.raises(ConfigError, match="service account"):
        find_access(NOTHING, {"KUBERNETES_SERVICE_HOST": "h"}, account=tmp_path)


def test_access_is_a_value() -> None:
    """Two that say the same are equal."""
    assert Access("http://a", "b", None) == Access("http://a", "b", None)
