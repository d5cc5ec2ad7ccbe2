"""What the base image is made of, and the key that names it (pure, but for reading the files beside it).

Two things decide when it is made anew: the Debian packages (``system_key``), which take most of the time, and what
comes on top of them (``base_key``). Neither holds the mirror or the index: they say where from, not what.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from binderlet.builder.layout import UID, USER
from binderlet.builder.requirements import pins_in
from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import BuilderSettings
from binderlet.errors import ConfigError

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python of each Debian release that can be the base."""
WHOLE_PYTHONS = {"3.11": "3.11.2", "3.13": "3.13.5"}
"""The same to the last number, by which some packages decide what else they need."""
PLATFORMS = {"bookworm": "manylinux_2_36", "trixie": "manylinux_2_40"}
"""What their C libraries are called among wheels, as far as uv knows the name."""
UV_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""Those that uv installs beside it, oldest first, as far as the base image's packages run on them."""
OLD_PYTHONS = ("3.9", "3.10")
"""Those for which older versions of these packages are locked."""
DEBIAN_MIRROR = "http://deb.debian.org/debian"
"""What mmdebstrap uses where neither a setting nor this machine names a mirror."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian keeps the certificates that programs trust."""
DISTRIBUTION_CERTIFICATES = "/usr/share/ca-certificates"
"""Where Debian and Ubuntu keep the certificates that come with them, one file each."""
NETWORK_SECRET = "network"  # noqa: S105 - a name, not a secret
KEY_LENGTH = 12

PACKAGES = (
    "python3",
    "python3-dev",
    "python3-venv",
    # Packages without a wheel need a compiler, and repositories expect one: repo2docker's base has it.
    "g++",
    "gcc",
    "libc6-dev",
    "make",
    "bzip2",
    "ca-certificates",
    "curl",
    "gettext-base",
    "git",
    "less",
    "locales",
    "procps",
    "unzip",
    "wget",
    "xz-utils",
)
PACKAGES_OF = {"bookworm": ("python3-distutils",)}
"""Packages that only one release has."""
DPKG_CONFIGURATION = """\
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/man/*
"""
LEFTOVERS = "usr/share/info/* usr/share/man/* var/cache/ldconfig/* var/log/*.log var/log/apt/*"

LAUNCHER = "lib/lab.py"
"""Has no ending in our sources: it is a program of the image, not a module of ours."""
RESOURCES = (
    "Dockerfile",
    "uv.txt",
    "bin/binderlet-entrypoint",
    "etc/profile.d/binderlet.sh",
    "etc/jupyter/jupyter_server_config.json",
    "etc/jupyter/labconfig/default_setting_overrides.json",
    "share/jupyter/labextensions/binderlet-session-end/package.json",
    "share/jupyter/labextensions/binderlet-session-end/static/remoteEntry.js",
)
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One base image, before it is made."""

    suite: str
    python: str
    """Such as ``3.11``."""
    packages: tuple[str, ...]
    """Debian packages; what they depend on comes with them."""
    context: Mapping[str, str] = field(repr=False)
    """The build context: path -> text."""
    platform: str
    is_locked: bool
    """Whether every Python package is pinned by a hash."""
    is_debians: bool = True
    """Whether its Python comes from Debian, else uv installs it."""

    @property
    def has_certificates(self) -> bool:
        """Whether it trusts more than Debian does."""
        return any(path.startswith("certificates/") for path in self.context)

    @property
    def system_key(self) -> str:
        """Name the Debian part: 12 hexadecimal digits."""
        return _digest([self.suite, self.packages, DPKG_CONFIGURATION, LEFTOVERS, self.platform])

    @property
    def base_key(self) -> str:
        """Name the whole: 12 hexadecimal digits."""
        python = [] if self.is_debians else [self.python]
        return _digest([self.system_key, sorted(self.context.items()), *python])

    def build_arguments(self, system: str) -> dict[str, str]:
        """Give the ``--build-arg`` values of the Dockerfile; ``system`` is the image of the Debian part."""
        python = {} if self.is_debians else {"PYTHON": self.python}
        return {"OS": system, "NB_USER": USER, "NB_UID": str(UID), **python}


def own_python(settings: BuilderSettings) -> str:
    """Give the Python of the base image that the settings ask for.

    Raises:
        ConfigError: ``builder.base_suite`` is no release that is known to work.
    """
    if settings.base_suite not in PYTHONS:
        raise ConfigError(f"builder.base_suite: {settings.base_suite!r} is not one of {', '.join(PYTHONS)}.")
    return PYTHONS[settings.base_suite]


def whole_python(settings: BuilderSettings, python: str) -> str:
    """Give the version of the base image's Python to its last number, where that is known: Debian's keeps it."""
    return WHOLE_PYTHONS.get(python, python) if python == own_python(settings) else python


def other_pythons(settings: BuilderSettings) -> tuple[str, ...]:
    """Give the Pythons that a base image can be made for beside the first; none on an image of the operator's."""
    if settings.base_image:
        return ()
    return tuple(each for each in UV_PYTHONS if each != own_python(settings))


def recipe(
    settings: BuilderSettings,
    network: NetworkEnvironment,
    *,
    certificates: Sequence[str],
    platform: str,
    python: str = "",
) -> Recipe:
    """Write down the base image that the settings ask for; ``certificates`` (PEM) are trusted beside Debian's.

    ``python`` is one of ``other_pythons``, or empty for the base image's own.

    Raises:
        ConfigError: ``builder.base_suite`` is no release that is known to work.
    """
    suite = settings.base_suite
    own = own_python(settings)
    context = {name: _resource(name) for name in RESOURCES}
    context[LAUNCHER] = _resource(LAUNCHER.removesuffix(".py"))
    context["requirements.txt"], is_locked = requirements(settings, python or own)
    context |= {f"certificates/binderlet-{_digest(pem)}.crt": pem for pem in certificates}
    context |= package_index_files(network)
    context["Dockerfile"] += _certificate_variables(certificates)
    return Recipe(
        suite=suite,
        python=python or own,
        packages=(*PACKAGES, *PACKAGES_OF.get(suite, ())),
        context=context,
        platform=platform,
        is_locked=is_locked,
        is_debians=python in {"", own},
    )


def requirements(settings: BuilderSettings, python: str) -> tuple[str, bool]:
    """Give the Python packages of the base image, and whether they are locked by hash.

    The lock files fit the default versions; for others the package tool resolves what goes with them.
    """
    fields = type(settings).model_fields
    names = ("jupyterlab", "notebook")
    if all(getattr(settings, name) == fields[name].default for name in names):
        return _resource("requirements-old.txt" if python in OLD_PYTHONS else "requirements.txt"), True
    return _resource("requirements.in").format(**{name: getattr(settings, name) for name in names}), False


def base_pins(settings: BuilderSettings, python: str) -> str:
    """Give the packages of the base image that are locked, a line ``name==version`` each."""
    text, is_locked = requirements(settings, python)
    return "".join(f"{pin}\n" for pin in pins_in(text)) if is_locked else ""


def extra_certificates(bundle: str, known: Iterable[str]) -> list[str]:
    """Give the certificates (PEM) of a bundle that are in none of the ``known`` texts, in an order of their own.

    The machine's bundle also holds its distribution's certificates, which change with each of its updates; only
    what somebody added belongs into images, and only that may make a new base image.
    """
    common = {body for text in known for body in _bodies(text)}
    return [_pem(body) for body in sorted(_bodies(bundle) - common)]


def package_index_files(network: NetworkEnvironment) -> dict[str, str]:
    """Give the settings by which pip and uv find this machine's package index inside sessions.

    An address with a password is left out: sessions run strangers' code. Builds get it by other ways.
    """
    index = network.index_url if _is_public(network.index_url) else ""
    extra = [url for url in network.extra_index_urls if _is_public(url)]
    if not index and not extra:
        return {}
    pip = ["[global]"]
    uv = []
    if index:
        pip.append(f"index-url = {index}")
        uv.append(f"[[index]]\nurl = {json.dumps(index)}\ndefault = true")
    if extra:
        pip.append("extra-index-url = " + " ".join(extra))
        uv += [f"[[index]]\nurl = {json.dumps(url)}" for url in extra]
    return {"etc/pip.conf": "\n".join(pip) + "\n", "etc/uv/uv.toml": "\n\n".join(uv) + "\n"}


def sources(settings: BuilderSettings, host: Sequence[str]) -> list[str]:
    """Give the lines of ``sources.list``: the setting's mirrors, else this machine's, else none: mmdebstrap's own.

    ``host`` has this machine's own lines for the release, from ``host_sources``. ``builder.base_mirror`` may hold
    several addresses with spaces between them; one that ends in ``-security`` is for security updates.
    """
    suite = settings.base_suite
    if not settings.base_mirror:
        return list(host)
    return _lines(suite, settings.base_mirror.split())


def host_sources(suite: str, texts: Iterable[str]) -> list[str]:
    """Read Debian's own archives for a release out of ``sources.list`` and ``.sources`` files.

    Archives of others are left out: their packages are this machine's business.
    """
    found = [entry for text in texts for entry in (*_one_line_entries(text), *_stanza_entries(text))]
    names = {suite: 0, f"{suite}-updates": 1, f"{suite}-security": 2}
    kept = {(names[name], f"deb {uri} {name} main") for uri, name in found if name in names}
    lines = [line for _, line in sorted(kept)]
    return lines if any(line.endswith(f" {suite} main") for line in lines) else []


def gather_command(made: Recipe, lines: Sequence[str], helper: str = "") -> list[str]:
    """Give the command that writes the Debian part: mmdebstrap's, or the root helper's client's; reads the disk."""
    if helper:
        return [sys.executable, "-I", "-m", "binderlet.clients.helper", helper, made.suite, *lines]
    return mmdebstrap_command(made.suite, made.packages, lines, keyring=KEYRING if Path(KEYRING).exists() else "")


def mmdebstrap_command(suite: str, packages: Sequence[str], lines: Sequence[str], *, keyring: str = "") -> list[str]:
    """Give the command that writes the Debian part to its standard output, as a tar archive."""
    conf = '"$1"/etc/dpkg/dpkg.cfg.d/binderlet'
    written = DPKG_CONFIGURATION.replace("\n", "\\n")
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(packages)}",
        '--aptopt=Acquire::Languages "none"',
        "--aptopt=Acquire::Retries 2",
        # An image that is half made is thrown away: nothing needs to be safe on the disk.
        "--dpkgopt=force-unsafe-io",
        # As --dpkgopt these would make mmdebstrap filter each archive by a program of its own, 9 s in all.
        f"--extract-hook=printf '{written}' > {conf}",
        f'--customize-hook=cd "$1" && rm -rf {LEFTOVERS}',
        *([f"--keyring={keyring}"] if keyring else []),
        suite,
        "-",
        *lines,
    ]


def _lines(suite: str, mirrors: Sequence[str]) -> list[str]:
    lines = []
    for mirror in mirrors:
        if mirror.rstrip("/").endswith("-security"):
            lines.append(f"deb {mirror} {suite}-security main")
        else:
            lines += [f"deb {mirror} {suite} main", f"deb {mirror} {suite}-updates main"]
    return lines


def _one_line_entries(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+.*\bmain\b", text, re.MULTILINE)
    return [(uri, suite) for uri, suite in found]


def _stanza_entries(text: str) -> list[tuple[str, str]]:
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE)
        }
        if "deb" in fields.get("types", ()) and "main" in fields.get("components", ()):
            found += [(uri, suite) for uri in fields.get("uris", ()) for suite in fields.get("suites", ())]
    return found


def _certificate_variables(certificates: Sequence[str]) -> str:
    """Give the instruction that leads programs with certificates of their own to Debian's, to which ours are added."""
    if not certificates:
        return ""
    variables = NetworkEnvironment().variables(SYSTEM_BUNDLE)
    return "ENV " + " ".join(f"{name}={value}" for name, value in sorted(variables.items())) + "\n"


def python_variables(settings: BuilderSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that lead uv to its Pythons; empty where these are its own.

    An address may hold a password, so they belong into the secret of a build.
    """
    names = {
        "UV_PYTHON_INSTALL_MIRROR": settings.python_mirror,
        "UV_PYTHON_DOWNLOADS_JSON_URL": settings.python_list,
    }
    return {name: value for name, ours in names.items() if (value := ours or environ.get(name, ""))}


def _bodies(text: str) -> set[str]:
    return {"".join(found.split()) for found in CERTIFICATE.findall(text)}


def _pem(body: str) -> str:
    lines = base64.encodebytes(base64.b64decode(body)).decode("ascii").replace("\n", "")
    wrapped = "\n".join(lines[i : i + 64] for i in range(0, len(lines), 64))
    return f"-----BEGIN CERTIFICATE-----\n{wrapped}\n-----END CERTIFICATE-----\n"


def _is_public(url: str) -> bool:
    return bool(url) and "@" not in urlsplit(url).netloc


def _resource(name: str) -> str:
    return (files("binderlet.builder") / "base" / name).read_text(encoding="utf-8")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:KEY_LENGTH]
