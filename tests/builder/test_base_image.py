"""How the base image is made: with programs that pretend, and once for real."""

from __future__ import annotations

import asyncio
import json
import platform
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from aiodocker.exceptions import DockerError

from binderlet.builder import base_image
from binderlet.builder.base_image import BaseImage, BaseImages
from binderlet.builder.base_recipe import recipe
from binderlet.builder.job import Job, JobSpec
from binderlet.builder.toolchain import Toolchain
from binderlet.clients.docker import DockerClient
from binderlet.config.network import NetworkEnvironment, read_text
from binderlet.config.schema import BuilderSettings
from binderlet.errors import (
    BuildFailed,
    BuildTimeout,
    ConfigError,
    EngineUnavailable,
    MissingProgram,
    RegistryUnreachable,
)
from binderlet.events.buildlog import BuildLog


@dataclass
class Images:
    """The one call that is made of ``DockerClient``; an image is there once its file is, with the labels in it."""

    folder: Path
    is_down: bool = False
    listed: list[dict[str, Any]] = field(default_factory=list)
    in_use: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str) -> Any:  # noqa: ANN401 - the engine's JSON
        """Inspect, list or remove images."""
        if self.is_down:
            raise OSError("no such socket")
        if path == "images/json":
            return self.listed
        if method == "DELETE":
            if path in self.in_use:
                raise DockerError(409, "conflict: in use")
            self.removed.append(path.removeprefix("images/"))
            return None
        name = path.removeprefix("images/").removesuffix("/json")
        text = await asyncio.to_thread(read_text, self.file(name))
        if text is None:
            raise DockerError(404, f"No such image: {name}")
        labels = dict(line.split("=", 1) for line in text.splitlines())
        return {"Id": f"sha256:{name}", "Config": {"Labels": labels or None}}

    def file(self, name: str) -> Path:
        """Give the file that stands for an image."""
        return self.folder / name.replace("/", "_")


@dataclass
class Workbench:
    """A base image maker whose programs are shell scripts."""

    folder: Path
    images: Images
    log: BuildLog
    network: NetworkEnvironment = field(default_factory=NetworkEnvironment)

    def script(self, name: str, body: str) -> Path:
        """Write a program."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\nCALLS={self.folder / 'calls'}\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def bases(self, **settings: Any) -> BaseImages:  # noqa: ANN401 - settings of any type
        """Give what is tested."""
        toolchain = Toolchain("docker", str(self.folder / "bin" / "docker"), "20.10")
        return BaseImages(
            cast("DockerClient", self.images),
            BuilderSettings(**settings),
            self.network,
            toolchain,
            self.folder / "jobs",
            repository="base",
        )

    async def said(self) -> str:
        """Give what is in the log."""
        await self.log.flush()
        return await asyncio.to_thread(self.log.path.read_text)

    async def left(self, name: str) -> str | None:
        """Give what the programs have written to a file, or None."""
        return await asyncio.to_thread(read_text, self.folder / name)

    async def until(self, name: str) -> str:
        """Wait until the programs have written something to a file, and give it."""
        while not (text := await self.left(name)):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)
        return text

    @property
    def calls(self) -> list[str]:
        """Give the command lines that the programs got, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


DOCKER = """
case "$1" in
  import) cat > /dev/null; image="$3" ;;
  tag) image="$3" ;;
  rmi) rm "$IMAGES/${2//\\//_}"; exit ;;
  build)
    for word in "$@"; do
      case "$word" in
        binderlet.*) labels+="$word"$'\\n' ;;
        --tag) next=1 ;;
        *) [ "$next" ] && image="$word"; next= ;;
      esac
    done
    context="${@: -1}"; cat "$context/../network" >> "$CALLS.secret"; ls "$context" >> "$CALLS.context" ;;
esac
echo "$*" >> "$CALLS"
printf "%s" "$labels" > "$IMAGES/${image//\\//_}"
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """Give a workbench on which everything succeeds."""
    for name in ("bin", "images"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/local/bin:/usr/bin:/bin")
    bench = Workbench(tmp_path, Images(tmp_path / "images"), BuildLog(tmp_path / "log"))
    bench.script("mmdebstrap", 'echo "mmdebstrap $*" >> "$CALLS"; echo "I: running apt-get update..." >&2; echo tar')
    bench.script("docker", f"IMAGES={tmp_path / 'images'}\n{DOCKER}")
    return bench


async def test_is_made_once(bench: Workbench) -> None:
    """The image is made from Debian packages and a Dockerfile, found the next time, and nothing is left beside it."""
    bases = bench.bases()
    made = await bases.ensure(bench.log)
    assert made.name == f"base:{made.version}"
    assert made.python == "3.11"
    assert made.id == f"sha256:{made.name}"
    calls = [call for call in bench.calls if not call.startswith("mmdebstrap")]
    assert [call.split()[0] for call in calls] == ["import", "tag", "build"]
    assert "--ignorefile" not in calls[-1], "there is none, and Podman refuses to build without"
    assert await bases.ensure(bench.log) == made
    assert len(bench.calls) == 4
    assert list((bench.folder / "jobs").iterdir()) == []
    assert not list(bench.images.folder.glob("*unchecked"))


async def test_says_what_it_does(bench: Workbench) -> None:
    """The log has the steps, where from, the programs' own words and the time it took."""
    await bench.bases(base_mirror="http://m.example.org/debian").ensure(bench.log)
    for words in (
        "Making the base image",
        "Debian bookworm from http://m.example.org/debian",
        "apt-get update",
        "ready",
    ):
        assert words in await bench.said()


async def test_callers_at_the_same_time_share_one_making(bench: Workbench) -> None:
    """Two callers get the same image from one making, and the one who waits is told so."""
    bases = bench.bases()
    one, other = await asyncio.gather(bases.ensure(bench.log), bases.ensure(bench.log))
    assert one == other
    assert len([call for call in bench.calls if call.startswith("build")]) == 1
    assert "Waiting for the base image" in await bench.said()


async def test_debian_packages_are_kept_for_another_jupyter(bench: Workbench) -> None:
    """Another JupyterLab makes another image on the same Debian packages, and says that it is not locked."""
    first = await bench.bases().ensure(bench.log)
    second = await bench.bases(jupyterlab="4.4.1").ensure(bench.log)
    assert first.version != second.version
    assert len([call for call in bench.calls if call.startswith("mmdebstrap")]) == 1
    assert "versions are resolved now" in await bench.said()


async def test_the_network_reaches_the_build_as_a_secret(bench: Workbench) -> None:
    """Package tools get proxies and indexes, also with passwords, but not by arguments, which stay in the image."""
    bench.network = NetworkEnvironment(
        index_url="https://u:geheim@pypi.example.org/s", https_proxy="http://p.example.org:1"
    )
    await bench.bases().ensure(bench.log)
    secret = (bench.folder / "calls.secret").read_text()
    assert "export PIP_INDEX_URL=https://u:geheim@pypi.example.org/s" in secret
    assert "export HTTPS_PROXY=http://p.example.org:1" in secret
    assert "geheim" not in "\n".join(bench.calls)


async def test_certificates_that_were_added_here_are_trusted(bench: Workbench) -> None:
    """A bundle with a certificate that the distribution does not have reaches the build."""
    bundle = bench.folder / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n")
    bench.network = NetworkEnvironment(ca_bundle=bundle)
    await bench.bases().ensure(bench.log)
    assert "PIP_CERT=/etc/ssl/certs/ca-certificates.crt" in (bench.folder / "calls.secret").read_text()


async def test_the_operators_image_is_used_as_it_is(bench: Workbench) -> None:
    """With builder.base_image nothing is made; its labels tell Python and version, its id where it has no version."""
    bench.images.file("mine:1").write_text("binderlet.python=3.12\n")
    assert await bench.bases(base_image="mine:1").ensure(bench.log) == BaseImage(
        "mine:1", "sha256:mine:1", "3.12", "sha256:mine:1"
    )
    assert bench.calls == []


@pytest.mark.parametrize(("labels", "message"), [(None, "engine has no image"), ("", "has no label binderlet.python")])
async def test_the_operators_image_must_fit(bench: Workbench, labels: str | None, message: str) -> None:
    """An image that is not here, or does not say its Python, is refused with the key's path."""
    if labels is not None:
        bench.images.file("mine:1").write_text(labels)
    with pytest.raises(ConfigError, match=f"builder.base_image: .*{message}"):
        await bench.bases(base_image="mine:1").ensure(bench.log)


async def test_mmdebstrap_may_be_missing(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without mmdebstrap is told what to install."""
    (bench.folder / "bin" / "mmdebstrap").unlink()
    monkeypatch.setenv("PATH", str(bench.folder / "bin"))
    with pytest.raises(MissingProgram, match="mmdebstrap") as error:
        await bench.bases().ensure(bench.log)
    assert "apt-get install mmdebstrap" in error.value.hint


@pytest.mark.parametrize(
    ("words", "host"),
    [
        ("E: Failed to fetch http://m.example.org/debian/dists/x  Could not resolve 'm.example.org'", "m.example.org"),
        ("W: Err http://m.example.org:8/debian bookworm InRelease: 503  Service Unavailable", "m.example.org:8"),
        ("E: The repository 'http://m.example.org/d bookworm Release' does not have a Release file.", "m.example.org"),
        ("E: Certificate verification failed: https://m.example.org/debian", "m.example.org"),
    ],
)
async def test_a_mirror_that_does_not_answer_is_named(bench: Workbench, words: str, host: str) -> None:
    """The error names the host and the setting, and the half that was imported does not count as an image."""
    bench.script("mmdebstrap", f"echo half; echo {json.dumps(words)} >&2; exit 25")
    with pytest.raises(RegistryUnreachable, match=f"{host} cannot be reached") as error:
        await bench.bases().ensure(bench.log)
    assert "builder.base_mirror" in error.value.hint
    assert list(bench.images.folder.iterdir()) == []
    assert list((bench.folder / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            "error: Failed to fetch: `https://pypi.example.org/simple/x/`",
            RegistryUnreachable,
            "pypi.example.org cannot",
        ),
        ("  \u00d7 No solution found when resolving dependencies\n#7 DONE", BuildFailed, "No solution found"),
        ("something\nodd", BuildFailed, r"odd \(exit code 1\)"),
        ("", BuildFailed, "printed nothing"),
        ("Retrying after: Connection refused", RegistryUnreachable, "the package index cannot be reached"),
        ("ERROR: No matching distribution found for uv==1", RegistryUnreachable, "the package index cannot be reached"),
    ],
)
async def test_failures_of_the_build_are_explained(
    bench: Workbench, words: str, error: type[BuildFailed], message: str
) -> None:
    """An index that does not answer is named; any other failure has the words that tell most."""
    bench.script(
        "docker", f"IMAGES={bench.images.folder}\nif [ $1 = build ]; then cat <<'X'\n{words}\nX\nexit 1; fi\n{DOCKER}"
    )
    with pytest.raises(error, match=message) as raised:
        await bench.bases().ensure(bench.log)
    assert type(raised.value) is error
    assert list((bench.folder / "jobs").iterdir()) == []


async def test_a_build_without_an_image_fails(bench: Workbench) -> None:
    """When the tool says that all is well but there is no image, that is said."""
    bench.script("docker", f"IMAGES={bench.images.folder}\nif [ $1 = build ]; then exit; fi\n{DOCKER}")
    with pytest.raises(BuildFailed, match="the engine does not have it"):
        await bench.bases().ensure(bench.log)


async def test_the_deadline_holds(bench: Workbench) -> None:
    """A mirror that never ends its answer is given up at builder.timeout."""
    bench.script("mmdebstrap", "sleep 30")
    with pytest.raises(BuildTimeout, match="longer than 1 s"):
        await bench.bases(timeout=1).ensure(bench.log)


async def test_cancelling_ends_the_programs(bench: Workbench) -> None:
    """Given up, the making leaves no program behind, and the next one starts anew."""
    bench.script("mmdebstrap", 'echo $$ > "$CALLS.pid"; exec sleep 30')
    making = asyncio.gather(bench.bases().ensure(bench.log))
    pid = await bench.until("calls.pid")
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert "sleep" not in (await bench.left(f"/proc/{pid.strip()}/cmdline") or "")
    bench.script("mmdebstrap", "echo tar")
    await bench.bases().ensure(bench.log)


async def test_a_making_of_an_earlier_control_plane_is_followed(bench: Workbench) -> None:
    """A making that goes on since the last control plane is not started again, and its words are shown."""
    made = await asyncio.to_thread(
        recipe, BuilderSettings(), NetworkEnvironment(), certificates=[], platform=platform.machine()
    )
    key = made.system_key
    script = 'echo "I: words"; until [ -e "$0" ]; do sleep 0.02; done; touch "$1"'
    go, image = str(bench.folder / "go"), str(bench.images.file(f"base-system:{key}"))
    await Job(bench.folder / "jobs" / key).start(JobSpec(["bash", "-c", script, go, image]))
    making = asyncio.gather(bench.bases().ensure(bench.log))
    while "I: words" not in await bench.said():  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(0.01)
    await asyncio.to_thread(Path(go).touch)
    await making
    assert [call.split()[0] for call in bench.calls] == ["build"]


async def test_podman_is_asked_remotely(bench: Workbench) -> None:
    """Behind a socket, Podman imports where it also builds: on the service, not beside it."""
    bench.script("podman", f"IMAGES={bench.images.folder}\n[ $1 = --remote ] || exit 9\nshift\n{DOCKER}")
    bases = bench.bases()
    bases._toolchain = Toolchain("podman", str(bench.folder / "bin" / "podman"), "4.3.1", "/run/podman.sock")
    await bases.ensure(bench.log)
    calls = [call for call in bench.calls if not call.startswith("mmdebstrap")]
    assert [call.split()[0] for call in calls] == ["import", "tag", "build"]
    assert "--ignorefile" not in calls[-1], "there is none, and Podman refuses to build without"


async def test_an_engine_that_is_down_is_not_a_missing_image(bench: Workbench) -> None:
    """When the engine does not answer, nothing is made."""
    bench.images.is_down = True
    with pytest.raises(EngineUnavailable):
        await bench.bases().ensure(bench.log)
    assert bench.calls == []


async def test_is_made_anew(bench: Workbench) -> None:
    """Debian's packages are brought together again, and the new image takes the old one's name at the end."""
    bases = bench.bases()
    made = await bases.ensure(bench.log)
    before = len(bench.calls)
    assert (await bases.renew(bench.log)).name == made.name
    anew = [call.split()[0] for call in bench.calls[before:]]
    assert sorted(anew) == ["build", "import", "mmdebstrap", "tag"]
    (bench.images.folder / "mine").write_text("binderlet.python=3.12\n")
    assert (await bench.bases(base_image="mine").renew(bench.log)).python == "3.12"


async def test_a_base_image_for_another_python(bench: Workbench) -> None:
    """It is made on the same Debian packages, told where Pythons come from, and found the next time."""
    bases = bench.bases(python_mirror="https://u:geheim@m.example.org")
    first = await bases.ensure(bench.log)
    other = await bases.ensure(bench.log, "3.12")
    assert (first.python, other.python) == ("3.11", "3.12")
    assert other.name != first.name
    assert await bases.ensure(bench.log, "3.12") == other
    assert await bases.ensure(bench.log, "3.11") == first
    assert len([call for call in bench.calls if call.startswith("mmdebstrap")]) == 1
    assert len([call for call in bench.calls if "--build-arg PYTHON=3.12" in call]) == 1
    assert "geheim" not in "\n".join(bench.calls)
    assert "UV_PYTHON_INSTALL_MIRROR=https://u:geheim@m.example.org" in (bench.folder / "calls.secret").read_text()
    assert "Making the base image for Python 3.12" in await bench.said()


async def test_a_python_that_cannot_be_had(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its mirror's words, and not asked for again for a while."""
    bases = bench.bases()
    await bases.ensure(bench.log)
    words = "error: Failed to install cpython-3.12\n  Caused by: dns error at https://m.example.org/x\n"
    bench.script(
        "docker", f"echo build >> $CALLS; printf {json.dumps(words)}; echo Python 3.12 could not be installed.; exit 1"
    )
    for _ in range(2):
        with pytest.raises(RegistryUnreachable, match=r"Python 3\.12 cannot be had from m\.example\.org"):
            await bases.ensure(bench.log, "3.12")
    assert bench.calls.count("build") == 1
    monkeypatch.setattr(base_image, "ASK_AGAIN", 0)
    with pytest.raises(RegistryUnreachable):
        await bases.ensure(bench.log, "3.12")
    assert bench.calls.count("build") == 2


async def test_all_pythons_are_made_anew(bench: Workbench) -> None:
    """With the first base image those for other Pythons are renewed; one alone leaves Debian's packages."""
    bases = bench.bases()
    made = [await bases.ensure(bench.log), await bases.ensure(bench.log, "3.12")]
    bench.images.listed = [listed(n, [base.name], python=base.python, base="x") for n, base in enumerate(made)]
    before = len(bench.calls)
    assert (await bases.renew(bench.log)).python == "3.11"
    assert sorted(call.split()[0] for call in bench.calls[before:]) == ["build", "build", "import", "mmdebstrap", "tag"]
    before = len(bench.calls)
    assert (await bases.renew(bench.log, "3.12")).python == "3.12"
    assert [call.split()[0] for call in bench.calls[before:]] == ["build"]


async def test_what_is_outdated(bench: Workbench) -> None:
    """A base image that has been replaced is known as such, per Python; of what is not known nothing is said."""
    bases = bench.bases()
    assert not bases.is_outdated("3.11", "sha256:x")
    made = await bases.ensure(bench.log)
    assert not bases.is_outdated("3.11", made.id)
    assert bases.is_outdated("3.11", "sha256:x")
    assert not bases.is_outdated("3.12", "sha256:x")
    bench.images.listed = [listed(7, [made.name], python="3.11", base="x")]
    await bases.kept()
    assert bases.is_outdated("3.11", made.id)


async def test_pruning_a_python(bench: Workbench) -> None:
    """The base image of a Python goes when asked for by name; the first stays."""
    bases = bench.bases()
    made = [await bases.ensure(bench.log), await bases.ensure(bench.log, "3.12")]
    bench.images.listed = [listed(n, [base.name], python=base.python, base="x") for n, base in enumerate(made)]
    assert await bases.prune() == []
    assert [base.python for base in await bases.prune("3.12")] == ["3.12"]


def listed(number: int, names: list[str] | None, **labels: str) -> dict[str, Any]:
    """Give an entry of the engine's list."""
    marked = {f"binderlet.{name}": value for name, value in labels.items()} or None
    return {"Id": f"sha256:{number}", "RepoTags": names, "Created": number, "Size": 5, "Labels": marked}


async def test_what_is_kept_and_removed(bench: Workbench) -> None:
    """Old base images go, but for one a container is made from; environments and others' images are none of these."""
    bases = bench.bases()
    current = (await bases.ensure(bench.log)).name
    bench.images.listed = [
        listed(1, ["base:old"], python="3.11", base="old"),
        listed(2, ["<none>:<none>"], python="3.11", base="older"),
        listed(3, None, python="3.11", base="used"),
        listed(4, [current], python="3.11", base="x"),
        listed(5, ["base-system:old"]),
        listed(6, ["<none>:<none>"], python="3.11", base="x", image="environment"),
        listed(7, ["<none>:<none>"]),
        listed(8, ["others:1"]),
    ]
    bench.images.in_use = {"images/sha256%3A3"}
    kept = await bases.kept()
    assert [(base.name, base.is_current) for base in kept] == [
        (current, True),
        ("base-system:old", False),
        ("", False),
        ("", False),
        ("base:old", False),
    ]
    assert [base.id for base in await bases.prune()] == ["sha256:5", "sha256:2", "sha256:1"]
    assert bench.images.removed == ["base-system%3Aold", "sha256%3A2", "base%3Aold"]


async def test_an_engine_that_goes_away(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an engine nothing can be removed, and that is said."""
    bases = bench.bases()
    bench.images.listed = [listed(1, ["base:old"], python="3.11", base="old")]
    kept = await bases.kept()
    monkeypatch.setattr(bases, "kept", AsyncMock(return_value=kept))
    bench.images.is_down = True
    with pytest.raises(EngineUnavailable):
        await bases.prune()
