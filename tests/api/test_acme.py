"""Answers to a certificate authority."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from binderlet.api.acme import Challenges
from support.asgi import ask

FOLDER = ".well-known/acme-challenge"


def app(webroot: Path | None) -> Starlette:
    """Make an application of the endpoint alone."""
    return Starlette(routes=[Route(f"/{FOLDER}/{{token}}", Challenges(webroot).answer)])


def fill(folder: Path) -> None:
    """Put a token, and something that is none of the authority's business."""
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / "tok_en-1").write_text("tok_en-1.thumb")
    (folder / ".well-known" / "secret").write_text("hidden")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("tok_en-1", 200, "tok_en-1.thumb"), ("other", 404, "no such"), ("..%2Fsecret", 404, "")],
)
async def test_only_tokens_that_are_there(tmp_path: Path, path: str, status: int, text: str) -> None:
    """A token's text is given; nothing else in or around the folder is."""
    await asyncio.to_thread(fill, tmp_path)
    answer = await ask(app(tmp_path), f"/{FOLDER}/{path}")
    assert answer.status == status
    assert text in answer.text
    assert "hidden" not in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


async def test_nothing_where_no_authority_is_asked() -> None:
    """Without HTTPS of our own there are no tokens, and odd ones are not looked for."""
    assert (await ask(app(None), f"/{FOLDER}/token")).status == 404
    assert (await ask(app(Path("/")), f"/{FOLDER}/a.b")).status == 404
