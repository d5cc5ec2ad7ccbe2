"""What this machine uses to reach the network, and how much of it containers get."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from binderlet.config.network import NetworkEnvironment, network_environment, read_text
from binderlet.config.schema import NetworkSettings
from binderlet.errors import ConfigError

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def find(
    environ: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None, **settings: object
) -> NetworkEnvironment:
    """Work out the network environment of a machine with these variables and files."""
    there = files or {}
    return network_environment(
        NetworkSettings.model_validate(settings), environ or {}, lambda path: there.get(str(path))
    )


def test_nothing_special() -> None:
    """A machine without any settings of its own gives containers no variables."""
    found = find()
    assert found == NetworkEnvironment()
    assert found.variables() == {}
    assert found.clone_environment() == {}


def test_settings_win() -> None:
    """What is set in binderlet's settings wins over what the machine uses."""
    found = find(
        {"https_proxy": "http://host:1", "PIP_INDEX_URL": "https://host/simple", "SSL_CERT_FILE": BUNDLE},
        {BUNDLE: "pem", "/own.pem": "pem"},
        https_proxy="http://set:2",
        index_url="https://set/simple",
        extra_index_urls=["https://more/simple"],
        ca_bundle="/own.pem",
    )
    assert found.https_proxy == "http://set:2"
    assert found.index_url == "https://set/simple"
    assert found.extra_index_urls == ("https://more/simple",)
    assert found.ca_bundle == Path("/own.pem")


def test_unreadable_bundle() -> None:
    """A certificate file that is set but cannot be read is an error with the key's path."""
    with pytest.raises(ConfigError, match=r"^network\.ca_bundle: /gone\.pem"):
        find(ca_bundle="/gone.pem")


@pytest.mark.parametrize("spelling", ["https_proxy", "HTTPS_PROXY"])
def test_proxy_spellings(spelling: str) -> None:
    """Proxies are found in either spelling, and given in both, as tools differ in which they read."""
    found = find({spelling: "http://proxy:3128", "NO_PROXY": "localhost,.example.org"})
    assert found.variables() == {
        "https_proxy": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3128",
        "no_proxy": "localhost,.example.org",
        "NO_PROXY": "localhost,.example.org",
    }


def test_no_proxy_alone() -> None:
    """Hosts without a proxy mean nothing where there is no proxy."""
    assert find({"no_proxy": "localhost"}).variables() == {}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "proxy.localhost"])
def test_loopback_proxy(host: str) -> None:
    """A proxy on the loopback address serves git here, but containers do not get it, and that is said."""
    found = find({"http_proxy": f"http://{host}:3128"})
    assert found.variables() == {}
    assert found.clone_environment()["http_proxy"] == f"http://{host}:3128"
    assert found.left_out == (f"http_proxy http://{host}:3128: in a container that address is the container itself",)


def test_proxy_without_scheme() -> None:
    """A proxy written as host and port is understood."""
    assert find({"http_proxy": "127.0.0.1:3128"}).variables() == {}
    assert find({"http_proxy": "proxy:3128"}).variables()["http_proxy"] == "proxy:3128"


def test_system_bundle() -> None:
    """Without a variable, the system's own certificates are trusted."""
    assert find({}, {BUNDLE: "pem"}).ca_bundle == Path(BUNDLE)


def test_missing_bundle_in_environment() -> None:
    """A variable that names a missing file does not hide the system's certificates."""
    assert find({"SSL_CERT_FILE": "/gone"}, {BUNDLE: "pem"}).ca_bundle == Path(BUNDLE)


def test_bundle_variables() -> None:
    """Containers get the path at which they have the certificates, git on this machine the path here."""
    found = find({"SSL_CERT_FILE": "/corp.pem"}, {"/corp.pem": "pem"})
    assert found.clone_environment() == {"GIT_SSL_CAINFO": "/corp.pem"}
    assert found.variables() == {}
    assert set(found.variables("/in/container.pem").values()) == {"/in/container.pem"}
    assert {"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"} <= set(found.variables("/in/container.pem"))


@pytest.mark.parametrize(
    ("environ", "index"),
    [
        ({"UV_DEFAULT_INDEX": "https://a/s", "PIP_INDEX_URL": "https://b/s"}, "https://a/s"),
        ({"UV_INDEX_URL": "https://a/s", "PIP_INDEX_URL": "https://b/s"}, "https://a/s"),
        ({"PIP_INDEX_URL": "https://b/s"}, "https://b/s"),
        ({"UV_DEFAULT_INDEX": "corp=https://a/s"}, "https://a/s"),
        ({"UV_INDEX_URL": "https://a/s?x=y"}, "https://a/s?x=y"),
        ({"UV_INDEX_URL": "file:///srv/simple", "PIP_INDEX_URL": "https://b/s"}, "https://b/s"),
        ({"PIP_INDEX_URL": "/srv/simple"}, ""),
        ({"PIP_INDEX_URL": "http://localhost:3141/root/pypi"}, ""),
    ],
)
def test_index(environ: Mapping[str, str], index: str) -> None:
    """The index is uv's, then pip's, and one that only this machine can reach is passed over."""
    assert find(environ).index_url == index


def test_index_variables() -> None:
    """Containers get the indexes as both uv and pip read them."""
    found = find({"PIP_INDEX_URL": "https://b/s", "PIP_EXTRA_INDEX_URL": "https://c/s file:///d https://e/s"})
    assert found.variables() == {
        "UV_DEFAULT_INDEX": "https://b/s",
        "PIP_INDEX_URL": "https://b/s",
        "UV_INDEX": "https://c/s https://e/s",
        "PIP_EXTRA_INDEX_URL": "https://c/s https://e/s",
    }
    assert found.left_out == ("index file:///d: it is on this machine's disk, which containers do not see",)


def test_find_links() -> None:
    """Folders of wheels stay on this machine, and that is said."""
    found = find({"PIP_FIND_LINKS": "/opt/wheels"}, {"/etc/pip.conf": "[global]\nfind-links = /opt/wheels /b\n"})
    assert found.variables() == {}
    assert found.left_out == (
        "find-links /opt/wheels: containers use package indexes only",
        "find-links /b: containers use package indexes only",
    )


def test_passed_on() -> None:
    """Plain variables of package tools are passed on; those that hold paths are not."""
    assert find({"PIP_DEFAULT_TIMEOUT": "180", "UV_CACHE_DIR": "/x", "PIP_TRUSTED_HOST": "h"}).variables() == {
        "PIP_DEFAULT_TIMEOUT": "180",
        "PIP_TRUSTED_HOST": "h",
    }


def test_pip_conf() -> None:
    """The files of pip count, the user's over the system's, with proxy and certificates."""
    found = find(
        {"HOME": "/home/u"},
        {
            "/etc/pip.conf": "[global]\nindex-url = https://a/s\nproxy = http://p:1\n",
            "/home/u/.config/pip/pip.conf": "[global]\nindex-url = https://b/s\ncert = /c.pem\n"
            "[install]\nextra-index-url =\n  https://c/s\n  file:///d\n",
            "/c.pem": "pem",
        },
    )
    assert found.index_url == "https://b/s"
    assert found.extra_index_urls == ("https://c/s",)
    assert (found.http_proxy, found.https_proxy) == ("http://p:1", "http://p:1")
    assert found.ca_bundle == Path("/c.pem")


def test_uv_toml() -> None:
    """The files of uv count before pip's, in both of their spellings."""
    found = find(
        {"XDG_CONFIG_HOME": "/conf"},
        {
            "/conf/uv/uv.toml": '[[index]]\nurl = "https://a/s"\ndefault = true\n[[index]]\nurl = "https://b/s"\n'
            "[[index]]\nname = 'no url'\n",
            "/etc/uv/uv.toml": '[pip]\nindex-url = "https://c/s"\nextra-index-url = ["https://d/s", 5]\n',
            "/etc/pip.conf": "[global]\nindex-url = https://e/s\n",
        },
    )
    assert found.index_url == "https://a/s"
    assert found.extra_index_urls == ("https://b/s", "https://d/s")


def test_broken_files() -> None:
    """Files that pip and uv cannot read give nothing, and stop nothing."""
    files = {"/etc/pip.conf": "no section", "/etc/uv/uv.toml": "= broken", "/uv.toml": 'index = "text"\npip = 5\n'}
    assert find({"UV_CONFIG_FILE": "/uv.toml"}, files) == NetworkEnvironment()


def test_passwords_are_masked() -> None:
    """Passwords in proxies and indexes do not show in ``repr`` or in what was left out."""
    found = find(
        {
            "http_proxy": "http://me:hunter2@localhost:1",
            "UV_INDEX_URL": "https://me:hunter2@host/s",
            "PIP_EXTRA_INDEX_URL": "https://me:hunter2@127.0.0.1/s",
        }
    )
    assert "hunter2" in found.index_url
    assert "hunter2" not in repr(found)
    assert "hunter2" not in " ".join(found.left_out)


def test_read_text(tmp_path: Path) -> None:
    """A file that is not there reads as None, whatever is in others as text."""
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    assert read_text(tmp_path / "gone") is None
    assert read_text(tmp_path / "latin") == "caf\ufffd"


def test_conda_mirror() -> None:
    """The setting wins over conda's own variable; containers get neither."""
    variable = {"CONDA_CHANNEL_ALIAS": "https://user:word@alias.test/"}
    assert find(variable).conda_mirror == "https://user:word@alias.test"
    assert find(variable, conda_mirror="https://mirror.test").conda_mirror == "https://mirror.test"
    assert "alias.test" not in str(find(variable).variables())
