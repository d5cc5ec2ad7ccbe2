"""Who looks after the bucket, in a running service."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry, generate_latest

from binderlet.app.bucket import BucketCare, care_for, nothing
from binderlet.config import Settings
from binderlet.images.sweep import Contents, Place, Thing
from binderlet.images.transfer_record import Entry, Record
from binderlet.tasks import Tasks
from support.eventually import eventually

S3 = {"endpoint": "https://s3.example.org", "bucket": "b", "access_key": "a", "secret_key": "s"}
PRICES = {"currency": "EUR", "base": 5.0, "storage": 0.01, "egress": 0.02, "requests": 0.001}
SETTINGS = Settings.model_validate({"registry": {"s3": S3}, "bucket": {"prices": PRICES}})


def tier(received: int = 0, requests: int = 0) -> Any:  # noqa: ANN401 - as little of a tier as is needed
    """Make a tier that has moved so much."""
    return SimpleNamespace(upstream=SimpleNamespace(received=received, client=SimpleNamespace(requests=requests)))


def test_who_needs_it(tmp_path: Path) -> None:
    """Only a bucket is looked after, and only where that is wanted."""
    assert care_for(Settings(), None, tmp_path, None) is None
    assert care_for(Settings(), tier(), tmp_path, None) is None
    off = Settings.model_validate({"registry": {"s3": S3}, "bucket": {"sweep": False}})
    assert care_for(off, tier(), tmp_path, None) is None
    assert care_for(SETTINGS, tier(), tmp_path, None) is not None


def test_sums_and_metrics(tmp_path: Path) -> None:
    """What is stored, moved and asked, and what that costs, on the status page and among the metrics."""
    now = [0.0]
    care = BucketCare(SETTINGS, tier(10**9, 100), tmp_path, None, clock=lambda: now[0])
    now[0] = 86400.0
    assert care.body()["used"] is None
    care.keeper.sums.size, care.keeper.sums.at = 100 * 10**9, 1.0
    body = care.body()
    assert body["used"] == 100 * 10**9
    assert body["month"] == {"base": 5.0, "storage": 1.0, "egress": 0.6, "requests": 0.01, "total": 6.61}
    registry = CollectorRegistry()
    registry.register(care)
    text = generate_latest(registry).decode()
    assert 'binderlet_bucket_month_cost{currency="EUR",part="storage"} 1.0' in text
    assert "binderlet_bucket_requests_total 400.0" in text
    assert "binderlet_bucket_egress_bytes_total 1e+09" in text


async def test_images_leave_a_bucket_that_holds_too_much(tmp_path: Path) -> None:
    """What is worth least and is not here goes from the registry and its record; without a registry nothing does."""
    deleted: list[str] = []

    async def delete(name: str) -> None:
        deleted.append(name)

    async def here() -> list[str]:
        return ["binderlet/i-here:1"]

    wanted = Settings.model_validate({"registry": {"s3": S3}, "bucket": {"budget": 100}})
    record = Record(tmp_path / "record.json")
    contents, needed, tagged = Contents(), dict[Place, list[str]](), dict[str, str]()
    for name in ("binderlet/i-here", "binderlet/i-away", "notes"):
        contents.tags[name, "1"] = Thing(f"{name}/1", 71, 0.0)
        contents.blobs[name] = Thing(name, 60, 0.0)
        needed[name, name] = []
        tagged[f"{name}/1"] = name
        record.put(Entry(f"{name}:1", image_id="sha256:x"))
    care = BucketCare(wanted, cast("Any", SimpleNamespace(registry=None, record=record)), tmp_path, None)
    await care.retire(contents, needed, tagged)
    registry = SimpleNamespace(delete=delete)
    care = BucketCare(wanted, cast("Any", SimpleNamespace(registry=registry, record=record)), tmp_path, None)
    care.here = here
    await care.retire(contents, needed, tagged)
    assert deleted == ["binderlet/i-away:1"]
    assert not record.is_stored("binderlet/i-away:1")
    assert record.is_stored("binderlet/i-here:1")
    assert await nothing() == ()
    assert care.pin_of("x") == ""


def test_without_an_upstream(tmp_path: Path) -> None:
    """Before the registry is there nothing was moved."""
    care = BucketCare(SETTINGS, cast("Any", SimpleNamespace(upstream=None)), tmp_path, None)
    assert (care.usage().egress, care.usage().requests) == (0, 0)


async def test_its_loop_is_the_keepers(tmp_path: Path) -> None:
    """Running it runs the keeper."""
    care = BucketCare(SETTINGS, tier(), tmp_path, None)
    ran: list[int] = []

    async def run() -> None:
        ran.append(1)

    cast("Any", care.keeper).run = run
    async with Tasks("test") as tasks:
        tasks.start(care.run(), name="run")
        await eventually(lambda: bool(ran))
