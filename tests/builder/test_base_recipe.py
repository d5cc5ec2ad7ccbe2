"""What the base image is made of."""

from __future__ import annotations

import ast
import configparser
import json
import re
import tomllib
from importlib.resources import files

import pytest

from binderlet.builder import base_recipe
from binderlet.builder.base_recipe import PLATFORMS, PYTHONS, Recipe, recipe
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import ConfigError

ONE = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n"
TWO = "-----BEGIN CERTIFICATE-----\nTUlJQw==\n-----END CERTIFICATE-----\n"


def made(
    settings: BuilderSettings | None = None,
    network: NetworkEnvironment | None = None,
    certificates: list[str] | None = None,
    platform: str = "x86_64",
    python: str = "",
) -> Recipe:
    """Write down a recipe, mostly from defaults."""
    return recipe(
        settings or BuilderSettings(),
        network or NetworkEnvironment(),
        certificates=certificates or [],
        platform=platform,
        python=python,
    )


def test_equal_settings_make_equal_keys() -> None:
    """The keys depend on the settings alone, and are twelve hexadecimal digits."""
    assert made().base_key == made().base_key
    assert made().system_key == made().system_key
    assert len(made().base_key) == len(made().system_key) == 12


@pytest.mark.parametrize(
    ("other", "packages_too"),
    [
        (made(BuilderSettings(base_suite="trixie")), True),
        (made(platform="aarch64"), True),
        (made(BuilderSettings(jupyterlab="4.4.1")), False),
        (made(certificates=[ONE]), False),
        (made(network=NetworkEnvironment(index_url="https://pypi.example.org/simple")), False),
        (made(python="3.12"), False),
    ],
)
def test_what_changes_the_image_changes_its_key(other: Recipe, *, packages_too: bool) -> None:
    """Each setting that makes another image makes another key; the Debian part has one of its own."""
    assert other.base_key != made().base_key
    assert (other.system_key != made().system_key) is packages_too


def test_where_from_does_not_change_the_key() -> None:
    """Another mirror or proxy gives the same image."""
    other = made(
        BuilderSettings(base_mirror="http://m.example.org/debian"), NetworkEnvironment(http_proxy="http://p:1")
    )
    assert (other.base_key, other.system_key) == (made().base_key, made().system_key)


def test_every_release_has_its_python() -> None:
    """A known release is used with its Python and packages; an unknown one is refused with the key's path."""
    assert made().python == "3.11"
    assert "python3-distutils" in made().packages
    trixie = made(BuilderSettings(base_suite="trixie"))
    assert trixie.python == "3.13"
    assert "python3-distutils" not in trixie.packages
    with pytest.raises(ConfigError, match=r"builder\.base_suite: 'buster' is not one of bookworm, trixie"):
        made(BuilderSettings(base_suite="buster"))


def test_other_pythons() -> None:
    """Beside the release's own Python there are those that uv installs; an image of the operator's has none."""
    assert base_recipe.other_pythons(BuilderSettings()) == ("3.9", "3.10", "3.12", "3.13", "3.14")
    assert "3.11" in base_recipe.other_pythons(BuilderSettings(base_suite="trixie"))
    assert base_recipe.other_pythons(BuilderSettings(base_image="mine")) == ()


def test_another_python_has_another_image_on_the_same_system() -> None:
    """Each Python has a key of its own, and the build is told which; Debian's is told of none."""
    keys = {made(python=python).base_key for python in ("", "3.12", "3.13", "3.10")}
    assert len(keys) == 4
    assert made(python="3.11").base_key == made().base_key
    assert made(python="3.12").build_arguments("system:1")["PYTHON"] == "3.12"
    assert "PYTHON" not in made().build_arguments("system:1")


def test_older_pythons_have_older_packages() -> None:
    """Where today's packages do not run older ones are locked, by hash, too."""
    text, is_locked = base_recipe.requirements(BuilderSettings(), "3.9")
    assert is_locked
    assert text != base_recipe.requirements(BuilderSettings(), "3.12")[0]
    assert re.search(rf"(?m)^jupyterlab=={BuilderSettings().jupyterlab} ", text)


def test_where_pythons_come_from() -> None:
    """The settings come before this machine's own variables, and neither makes another image."""
    environ = {"UV_PYTHON_INSTALL_MIRROR": "https://e.example.org", "UV_PYTHON_DOWNLOADS_JSON_URL": "https://l"}
    settings = BuilderSettings(python_mirror="https://s.example.org")
    assert base_recipe.python_variables(settings, environ) == {
        "UV_PYTHON_INSTALL_MIRROR": "https://s.example.org",
        "UV_PYTHON_DOWNLOADS_JSON_URL": "https://l",
    }
    assert base_recipe.python_variables(BuilderSettings(), {}) == {}
    assert made(settings, python="3.12").base_key == made(python="3.12").base_key


@pytest.mark.parametrize("name", ["base/lib/lab", "lock_program.py", "compile_wheels.py"])
def test_programs_of_the_image_run_on_every_python(name: str) -> None:
    """What runs on a base image's Python has no syntax that the oldest does not know."""
    text = (files("binderlet.builder") / name).read_text()
    major, minor = base_recipe.UV_PYTHONS[0].split(".")
    tree = ast.parse(text, feature_version=(int(major), int(minor)))
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert future, "annotations are not evaluated"


def test_default_versions_are_locked() -> None:
    """The lock file fits the default versions and has a hash for every package."""
    text, is_locked = base_recipe.requirements(BuilderSettings(), "3.11")
    settings = BuilderSettings()
    assert is_locked
    assert f"jupyterlab=={settings.jupyterlab} " in text
    assert f"notebook=={settings.notebook} " in text
    pins = [line for line in text.splitlines() if "==" in line]
    assert all(line.endswith("\\") for line in pins)


def test_other_versions_are_resolved() -> None:
    """Versions of the operator's choice come into the list, without hashes."""
    text, is_locked = base_recipe.requirements(BuilderSettings(jupyterlab="4.3.0", notebook="7.3.1"), "3.11")
    assert not is_locked
    assert "jupyterlab==4.3.0\nnotebook==7.3.1\n" in text
    assert "--hash" not in text


def test_only_added_certificates_are_taken() -> None:
    """What the distribution has is left out, also when it is wrapped in another way, and the order does not count."""
    wrapped = ONE.replace("TUlJQg==", "TUlJ\nQg==")
    assert base_recipe.extra_certificates(ONE + TWO, [wrapped]) == [TWO]
    assert base_recipe.extra_certificates(TWO + ONE, []) == base_recipe.extra_certificates(ONE + TWO, [])


def test_certificates_reach_every_program() -> None:
    """With added certificates, programs that have their own are led to the system's; else nothing is set."""
    with_them = made(certificates=[ONE])
    assert with_them.has_certificates
    assert [text for path, text in with_them.context.items() if path.startswith("certificates/")] == [ONE]
    assert "ENV " in with_them.context["Dockerfile"].splitlines()[-1]
    assert f"PIP_CERT={base_recipe.SYSTEM_BUNDLE}" in with_them.context["Dockerfile"]
    assert not made().has_certificates
    assert "PIP_CERT" not in made().context["Dockerfile"]


def test_indexes_reach_sessions() -> None:
    """Inside sessions, pip and uv use this machine's package indexes."""
    files = base_recipe.package_index_files(
        NetworkEnvironment(index_url="https://a.example.org/s", extra_index_urls=("https://b.example.org/s",))
    )
    pip = configparser.ConfigParser()
    pip.read_string(files["etc/pip.conf"])
    assert dict(pip["global"]) == {
        "index-url": "https://a.example.org/s",
        "extra-index-url": "https://b.example.org/s",
    }
    assert tomllib.loads(files["etc/uv/uv.toml"])["index"] == [
        {"url": "https://a.example.org/s", "default": True},
        {"url": "https://b.example.org/s"},
    ]
    assert set(files) <= set(made(network=NetworkEnvironment(index_url="https://a.example.org/s")).context)


def test_passwords_stay_out_of_images() -> None:
    """An index whose address has a password is not written into the image."""
    network = NetworkEnvironment(
        index_url="https://u:geheim@a.example.org/s", extra_index_urls=("https://b.example.org",)
    )
    files = base_recipe.package_index_files(network)
    assert "index-url = https://u" not in files["etc/pip.conf"]
    assert not any("geheim" in text for text in made(network=network).context.values())
    assert base_recipe.package_index_files(NetworkEnvironment(index_url="https://u@a.example.org")) == {}


HOST_LINES = [
    "deb http://m.example.org/debian bookworm main",
    "deb http://m.example.org/debian bookworm-updates main",
    "deb http://m.example.org/debian-security bookworm-security main",
]


def test_sources_come_from_the_setting_then_the_host_then_mmdebstrap() -> None:
    """The mirror that is set wins over this machine's, and that over what mmdebstrap knows."""
    chosen = BuilderSettings(base_mirror="http://x.example.org/debian http://x.example.org/debian-security/")
    assert base_recipe.sources(chosen, HOST_LINES) == [
        "deb http://x.example.org/debian bookworm main",
        "deb http://x.example.org/debian bookworm-updates main",
        "deb http://x.example.org/debian-security/ bookworm-security main",
    ]
    assert base_recipe.sources(BuilderSettings(), HOST_LINES) == HOST_LINES
    assert base_recipe.sources(BuilderSettings(), []) == []


def test_host_sources_are_read_in_both_forms() -> None:
    """Debian's own archives are found in one-line and in stanza files; those of others and source packages are not."""
    lines = """\
# deb http://old.example.org/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://m.example.org/debian bookworm main contrib
deb-src http://m.example.org/debian bookworm main
deb http://m.example.org/debian trixie main
deb https://packages.example.com/apt tool-bookworm main
"""
    stanzas = """\
Types: deb deb-src
# a comment
URIs: http://m.example.org/debian
Suites: bookworm-updates
Components: main contrib

Types: deb
URIs: http://m.example.org/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://backports.example.org
Suites: bookworm
Components: contrib
"""
    assert base_recipe.host_sources("bookworm", [lines, stanzas, "junk"]) == HOST_LINES


def test_a_host_of_another_release_is_not_asked() -> None:
    """Updates without the release itself, or no fitting archive at all, give nothing."""
    assert base_recipe.host_sources("bookworm", [HOST_LINES[1]]) == []
    assert base_recipe.host_sources("bookworm", ["deb http://archive.ubuntu.com/ubuntu noble main"]) == []


def test_mmdebstrap_is_told_everything() -> None:
    """The command has the packages, the release, the archives, and the keyring where one is given."""
    command = base_recipe.mmdebstrap_command("bookworm", made().packages, HOST_LINES, keyring="/k.gpg")
    assert command[0] == "mmdebstrap"
    assert command[-5:] == ["bookworm", "-", *HOST_LINES]
    assert "--keyring=/k.gpg" in command
    assert f"--include={','.join(made().packages)}" in command
    assert not [word for word in base_recipe.mmdebstrap_command("bookworm", (), HOST_LINES) if "keyring" in word]


def test_who_gathers() -> None:
    """Mmdebstrap itself, or the root helper's client, which names release and archives and no packages."""
    assert base_recipe.gather_command(made(), HOST_LINES)[0] == "mmdebstrap"
    asked = base_recipe.gather_command(made(), HOST_LINES, "/run/h.sock")
    assert asked[1:] == ["-I", "-m", "binderlet.clients.helper", "/run/h.sock", "bookworm", *HOST_LINES]


def test_the_user_is_repo2dockers() -> None:
    """The image is built on the Debian part, for jovyan with the id 1000."""
    assert made().build_arguments("sys:1") == {"OS": "sys:1", "NB_USER": "jovyan", "NB_UID": "1000"}


def test_nobody_is_asked_about_news() -> None:
    """JupyterLab's question whether to fetch news, which each new session would ask again, is answered in the image."""
    text = made().context["etc/jupyter/labconfig/default_setting_overrides.json"]
    answers = json.loads(text)["@jupyterlab/apputils-extension:notification"]
    assert answers == {"checkForUpdates": False, "fetchNews": "false"}


def test_whole_python() -> None:
    """Debian's Python is known to its last number, and what its wheels are called; others are what they are."""
    assert {
        base_recipe.whole_python(BuilderSettings(base_suite=suite), python) for suite, python in PYTHONS.items()
    } == {
        "3.11.2",
        "3.13.5",
    }
    assert base_recipe.whole_python(BuilderSettings(base_suite="bookworm"), "3.12") == "3.12"
    assert PLATFORMS.keys() == PYTHONS.keys()


def test_base_pins() -> None:
    """The locked packages of the base image; other versions of Jupyter are not locked."""
    assert "jupyterlab==" in base_recipe.base_pins(BuilderSettings(), "3.11")
    assert base_recipe.base_pins(BuilderSettings(jupyterlab="4.4"), "3.11") == ""
