"""``/api/repoproviders`` and ``/_config``."""

from __future__ import annotations

from starlette.applications import Starlette

from support.asgi import ask
from support.services import DISPLAYS


async def test_the_list_is_in_the_providers_own_words(app: Starlette) -> None:
    """Each provider's display is given as it is, in order."""
    assert (await ask(app, "/api/repoproviders")).json() == list(DISPLAYS.values())


async def test_old_clients_get_the_old_shape(app: Starlette) -> None:
    """``/_config`` answers as BinderHub did until 2024."""
    body = (await ask(app, "/_config")).json()
    assert list(body) == ["gh", "git", "zenodo"]
    assert body["gh"] == {
        "text": "GitHub repository name or URL",
        "tag_text": "Git ref (branch, tag, or commit)",
        "ref_prop_disabled": False,
        "label_prop_disabled": False,
    }
    assert body["zenodo"]["ref_prop_disabled"] is True
