"""Ways to the network for Dockerfiles of others."""

from __future__ import annotations

from pathlib import Path

from binderlet.builder.foreign import conda_variables, declared_arguments, pip_configuration, with_conda, with_network
from binderlet.config.network import NetworkEnvironment

DOCKERFILE = "FROM base:1 AS a\nARG X\nRUN one \\\n  && RUN two\nUSER x\nRUN three\nFROM a\n"


def test_declared_arguments() -> None:
    """A Dockerfile gets the indexes that it declares; one with a password never, as it would stay in the history."""
    network = NetworkEnvironment(
        index_url="https://i.example.org/simple", extra_index_urls=("https://u:p@e.example.org/simple",)
    )
    text = "FROM x\nARG PIP_INDEX_URL\n arg UV_DEFAULT_INDEX=https://pypi.org/simple OTHER\nARG PIP_EXTRA_INDEX_URL\n"
    assert declared_arguments(text, network) == {
        "PIP_INDEX_URL": "https://i.example.org/simple",
        "UV_DEFAULT_INDEX": "https://i.example.org/simple",
    }
    assert declared_arguments("FROM x\n", network) == {}
    assert declared_arguments(text, NetworkEnvironment()) == {}


def test_pip_configuration() -> None:
    """The file has the indexes, with their passwords; without any there is none."""
    network = NetworkEnvironment(index_url="https://u:p@i.test/s", extra_index_urls=("https://a", "https://b"))
    text = "[global]\nindex-url = https://u:p@i.test/s\nextra-index-url = https://a https://b\n"
    assert pip_configuration(network) == text
    assert pip_configuration(NetworkEnvironment(ca_bundle=Path("/ca.pem"))) == ""


def test_with_network() -> None:
    """Each stage has the variables, each step the files, and a word in the middle of a line is left alone."""
    text = with_network(DOCKERFILE, {"binderlet-pip": 1, "binderlet-ca": 1}, {"PIP_RETRIES": '9 "$x"'})
    assert text.count("ARG PIP_CONFIG_FILE=") == text.count('ARG PIP_RETRIES="9 \\"\\$x\\""\n') == 2
    assert text.count('ARG SSL_CERT_FILE="/run/binderlet/ca.pem"\n') == 2
    pip = "--mount=type=secret,id=binderlet-pip,target=/run/binderlet/pip.conf,mode=0444"
    certificates = "--mount=type=secret,id=binderlet-ca,target=/run/binderlet/ca.pem,mode=0444"
    assert text.count(f"RUN {pip} {certificates} ") == 2
    assert f"RUN {pip} {certificates} one \\\n  && RUN two\n" in text


def test_nothing_special() -> None:
    """Where the network needs nothing the Dockerfile stays as it is."""
    assert with_network(DOCKERFILE, {}, {}) == DOCKERFILE
    assert "mount" not in with_network(DOCKERFILE, {}, {"PIP_RETRIES": "1"})


SCRIPT = """URL="https://anaconda.org/conda-forge/micromamba/${MAMBA_VERSION}/download/${CONDA_PLATFORM}/micromamba-1.tar.bz2"
cat <<EOT >> ${CONDA_DIR}/.condarc
channels:
  - conda-forge
auto_update_conda: false
"""
PACKAGES = "@EXPLICIT\nhttps://conda.anaconda.org/conda-forge/noarch/tzdata-1.conda#42\n"


def test_with_conda() -> None:
    """The program and the packages come from the mirror, and the operator's channels count before conda's own."""
    mirror = "https://mirror.test/conda"
    script = with_conda(SCRIPT, mirror, ["ours", "https://u:p@x.test/c"])
    assert f'URL="{mirror}/conda-forge/${{CONDA_PLATFORM}}/micromamba-1.tar.bz2"' in script
    assert "channels:\n  - ours\n  - conda-forge\nauto_update_conda" in script
    assert with_conda(PACKAGES, mirror, []) == f"@EXPLICIT\n{mirror}/conda-forge/noarch/tzdata-1.conda#42\n"
    assert conda_variables(NetworkEnvironment(conda_mirror=mirror))["MAMBA_CHANNEL_ALIAS"] == mirror


def test_a_mirror_with_a_password() -> None:
    """It is not used: these files become part of the image."""
    for mirror in ("", "https://u:p@mirror.test", "https://mirror.test/t/abc"):
        assert with_conda(SCRIPT + PACKAGES, mirror, ["conda-forge"]) == SCRIPT + PACKAGES
        assert conda_variables(NetworkEnvironment(conda_mirror=mirror)) == {}
