"""A registry, the images of a machine, and what is known of both, all in memory."""

from __future__ import annotations

from pathlib import Path

from binderlet.config.registry import RegistrySettings
from binderlet.images.base import ImageStore
from binderlet.images.fake import FakeImages
from binderlet.images.names import image_name
from binderlet.images.pull import Peer, Pulls
from binderlet.images.registry.base import Registry
from binderlet.images.registry.fake import FakeRegistry
from binderlet.images.registry.pulse import Pulse
from binderlet.images.transfer_record import Record
from binderlet.model import Image
from binderlet.tasks import Tasks
from support.values import COMMIT

PREFIX = "binderlet/i-"
NAME = image_name(PREFIX, COMMIT.slug, COMMIT.sha)
LABELS = {
    "repo2docker.repo": COMMIT.repo_url,
    "repo2docker.ref": COMMIT.sha,
    "binderlet.image": "content",
    "binderlet.environment": "e1",
    "binderlet.base": "sha256:base",
}
CONTENT = Image(NAME, "sha256:content", 10, LABELS)
ENVIRONMENT = Image(
    "binderlet/env:e1", "sha256:env", 9, {"binderlet.image": "environment", "binderlet.environment": "e1"}
)
BASE = Image("binderlet/base:b1", "sha256:base", 8, {"binderlet.base": "b1"})


class World:
    """One machine and its registry; ``peer()`` adds another member's."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.images = FakeImages()
        self.registry = FakeRegistry(self.images)
        self.record = Record(folder / "record.json")
        self.record.is_complete = True
        self.pulse = Pulse(self.registry.ping)
        self.tasks = Tasks("test")
        self.settings = RegistrySettings.model_validate({"patience": 0, **settings})
        self.peers: list[Peer] = []
        self.layers: frozenset[str] = frozenset()
        self.pulls = self.make_pulls(self.registry)

    def make_pulls(self, registry: Registry | None, images: ImageStore | None = None) -> Pulls:
        """Give pulls from that registry and the peers."""

        async def layers(_: object) -> frozenset[str]:
            return self.layers

        return Pulls(
            registry,
            self.pulse,
            self.record,
            images or self.images,
            settings=self.settings,
            tasks=self.tasks,
            peers=self.peers,
            layers=layers,
        )

    def peer(self, prefix: str = "peer.example.org/b/r2d-") -> FakeRegistry:
        """Add a peer."""
        registry = FakeRegistry(self.images, prefix.partition("/")[0])
        self.peers.append(Peer(registry, prefix))
        return registry
