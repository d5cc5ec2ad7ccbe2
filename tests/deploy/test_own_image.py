"""The image of binderlet itself: what is run to make it, and the archive around it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from binderlet.config.network import NetworkEnvironment
from binderlet.config.schema import Settings
from binderlet.deploy import own_image
from binderlet.deploy.install.release import Release
from binderlet.deploy.own_image import command, make, network_of, pack, sources_of
from binderlet.errors import BuildFailed, MissingProgram

RELEASE = Release(Path("/w/binderlet-1-py3-none-any.whl"), Path("/w/requirements.lock"))


def test_what_is_run(tmp_path: Path) -> None:
    """The release is installed with the exact versions of its lock file, and this machine's index and certificates."""
    network = NetworkEnvironment(index_url="https://index.example.org/simple", ca_bundle=Path("/etc/ca.pem"))
    line = command(RELEASE, network, ["deb http://mirror bookworm main"], tmp_path / "out.tar")
    text = "\n".join(line)
    assert line[-3:] == ["bookworm", str(tmp_path / "out.tar"), "deb http://mirror bookworm main"]
    assert "--require-hashes --requirement /tmp/binderlet/requirements.lock" in text
    assert "--no-deps /tmp/binderlet/binderlet-1-py3-none-any.whl" in text
    assert "https://index.example.org/simple" in text
    assert "cp /etc/ca.pem" in text
    assert "haproxy" in next(part for part in line if part.startswith("--include"))
    assert "ca.pem" not in "\n".join(command(RELEASE, NetworkEnvironment(), [], tmp_path))


def test_archive(tmp_path: Path) -> None:
    """One layer, its configuration and a manifest with the name, as engines load them."""

    def run(given: Sequence[str], _environment: Mapping[str, str]) -> None:
        Path(given[given.index("bookworm") + 1]).write_bytes(b"files")

    target = tmp_path / "image.tar"
    image = make(RELEASE, NetworkEnvironment(), "binderlet:1", target, run=run)
    with tarfile.open(target) as archive:
        names = archive.getnames()
        (manifest,) = json.load(archive.extractfile("manifest.json") or pytest.fail("no manifest"))
        config = json.load(archive.extractfile(manifest["Config"]) or pytest.fail("no configuration"))
        layer = archive.extractfile(manifest["Layers"][0])
        assert layer is not None
        assert layer.read() == b"files"
    assert manifest["RepoTags"] == ["binderlet:1"]
    assert set(names) == {"manifest.json", manifest["Config"], manifest["Layers"][0]}
    assert config["config"]["User"] == "10001:10001"
    assert manifest["Config"] == f"{image.removeprefix('sha256:')}.json"
    again = tmp_path / "again.tar"
    (tmp_path / "files").write_bytes(b"files")
    assert pack(tmp_path / "files", "binderlet:1", again) == image


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing mmdebstrap is named."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(MissingProgram, match="mmdebstrap"):
        make(RELEASE, NetworkEnvironment(), "x", tmp_path / "x.tar")


def test_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure has the program's last words, and a success leaves nothing but the archive."""
    program = tmp_path / "mmdebstrap"
    program.write_text("#!/bin/sh\necho E: no mirror >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(BuildFailed, match="E: no mirror"):
        make(RELEASE, NetworkEnvironment(), "x", tmp_path / "x.tar")
    monkeypatch.setattr(own_image, "command", lambda *_: ["true"])
    with pytest.raises(FileNotFoundError):
        make(RELEASE, NetworkEnvironment(), "x", tmp_path / "x.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["mmdebstrap"]


def test_mirrors_and_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the settings', or this machine's own."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org/simple")
    assert network_of(Settings()).index_url == "https://index.example.org/simple"
    chosen = Settings.model_validate({"builder": {"base_mirror": "http://mirror.example.org/debian"}})
    assert sources_of(chosen)[0] == "deb http://mirror.example.org/debian bookworm main"
    assert all(line.startswith("deb ") for line in sources_of(Settings()))
