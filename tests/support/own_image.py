"""A container image of binderlet for tests, made in seconds from this machine's own files, without any download.

Its control plane builds nothing: each repository's image is this very image, whose entrypoint is a small session.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path

from binderlet.router.process import find_program
from support.service import docker

ROOT = Path(__file__).parents[2]
PROGRAMS = ("sh", "tar", "sleep", "cat", "git", "git-upload-pack", "env", "ls", "test")
LEFT_OUT = re.compile(r"(^|/)(tests?|idlelib|tkinter|ensurepip|dist-packages|config-3[^/]*)(/|$)")
NOT_NEEDED = {"py-rattler", "botocore", "jupyter-repo2docker", "matplotlib", "numpy", "certbot", "acme"}
"""Large, and imported only where they are used."""
PACKAGES = "/opt/packages"
CONTROL_PLANE = """\
#!/usr/bin/python3
import asyncio, os, signal, sys
import binderlet.app.pair as pair
from binderlet.app.machinery import Machinery
from binderlet.builder.fake import FakeBuilder
from binderlet.cli.main import run
from binderlet.clients.kubernetes import KubernetesClient
from binderlet.clients.kubernetes_access import find_access
from binderlet.engine.kubernetes import KubernetesEngine
from binderlet.images.fake import FakeImages
from binderlet.model import Image

class Builder(FakeBuilder):
    async def build(self, request, log):
        return Image(os.environ["TEST_IMAGE"], "sha256:" + "0" * 64)

async def machinery(settings, network, state):
    access = await asyncio.to_thread(find_access, settings.kubernetes)
    engine = KubernetesEngine(KubernetesClient(access), settings.engine, settings.kubernetes, settings.server.instance)
    images = FakeImages()
    return Machinery(engine, images, Builder(), "nothing is built", images.close)

# As the loss of a node would: PID 1 of a container cannot be killed from inside.
signal.signal(signal.SIGUSR2, lambda *_: os._exit(9))
pair.kubernetes_machinery = machinery
sys.exit(run())
"""
SESSION = """\
import asyncio
from aiohttp import web, WSMsgType

async def answer(request):
    if request.headers.get("upgrade", "").lower() != "websocket":
        return web.json_response({"path": request.path, "headers": dict(request.headers)})
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket

async def main():
    await asyncio.sleep(3)  # a launch takes a while
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 8888).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def make_own_image(*names: str) -> None:
    """Import the image under these names; the caller removes them."""
    changes = [
        f"ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin PYTHONPATH={PACKAGES} PYTHONDONTWRITEBYTECODE=1",
        f"ENV TEST_IMAGE=docker.io/{names[0]}",
        'ENTRYPOINT ["python3", "/srv/session.py"]',
    ]
    arguments = [word for change in changes for word in ("--change", change)]
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        _write(Path(file.name))
        subprocess.run([docker(), "import", *arguments, file.name, names[0]], check=True, capture_output=True)
    for name in names[1:]:
        subprocess.run([docker(), "tag", names[0], name], check=True)


def _write(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, tarfile.open(target, "w", dereference=True) as archive:
        here = Path(folder)
        stdlib = Path(sys.base_prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        interpreter, haproxy = Path(sys.executable).resolve(), Path(find_program("haproxy"))
        programs = {Path(shutil.which(name) or name): f"usr/bin/{name}" for name in PROGRAMS}
        programs |= {interpreter: "usr/bin/python3", haproxy: "usr/sbin/haproxy"}
        for source, place in programs.items():
            archive.add(source, place)
        archive.add(shutil.which("git") or "git", "usr/lib/git-core/git")
        archive.add(Path("/bin/sh").resolve(), "bin/sh")
        archive.add(stdlib, str(stdlib)[1:], filter=_plain)
        packages = _packages()
        for source, place in packages.items():
            archive.add(source, f"{PACKAGES[1:]}/{place}")
        archive.add(ROOT / "src" / "binderlet", f"{PACKAGES[1:]}/binderlet", filter=_plain)
        extensions = [path for path in (*stdlib.glob("lib-dynload/*.so"), *packages) if ".so" in path.suffixes]
        for library in _libraries([*programs, *extensions]):
            archive.add(library, library[1:])
        _add(archive, here, "usr/local/bin/binderlet", CONTROL_PLANE, 0o755)
        _add(archive, here, "srv/session.py", SESSION)
        _add(archive, here, "etc/passwd", "root:x:0:0::/:/bin/sh\nuser:x:10001:10001::/:/bin/sh\n")
        archive.add(_repository(here / "repo"), "srv/repo", filter=_of_the_user)
        for name in ("tmp", "etc/binderlet", "var/lib/binderlet/run"):
            made = tarfile.TarInfo(name)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(made)


def _packages() -> dict[Path, str]:
    """Find the files of the packages of the lock file."""
    found: dict[Path, str] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not (match := re.match(r"([A-Za-z0-9._-]+)==", line)) or match[1] in NOT_NEEDED:
            continue
        try:
            files = distribution(match[1]).files or ()
        except PackageNotFoundError:
            continue  # for another system
        for file in files:
            path = Path(str(file.locate()))
            if not path.is_file() or str(file).startswith("..") or path.suffix == ".pyc":
                continue
            found[path] = str(file)
            # Without these every start would take seconds of CPU time.
            cached = Path(cache_from_source(str(path)))
            if path.suffix == ".py" and cached.exists():
                found[cached] = str(file.parent / "__pycache__" / cached.name)
    return found


def _repository(folder: Path) -> Path:
    folder.mkdir()
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "--quiet", "--initial-branch=main"), (*identity, "commit", "-qm", "x", "--allow-empty")):
        subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True)
    return folder


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if LEFT_OUT.search(info.name) else info


def _of_the_user(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 10001
    return info


def _add(archive: tarfile.TarFile, folder: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = folder / "file"
    path.write_text(text)
    path.chmod(mode)
    archive.add(path, name)


def _libraries(programs: list[Path]) -> set[str]:
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/\S+) \(0x", done.stdout))
