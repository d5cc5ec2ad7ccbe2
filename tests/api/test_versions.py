"""``/versions``."""

from __future__ import annotations

from dataclasses import replace

from starlette.applications import Starlette

from binderlet import __version__
from binderlet.api.versions import versions_body
from support.asgi import ask
from support.services import Stage


async def test_the_shape_is_binderhubs(app: Starlette) -> None:
    """Builder and version are told, and the answer is open to every site."""
    answer = await ask(app, "/versions")
    assert answer.json() == {
        "builder_info": {"build_image": "binderlet/base:test"},
        "binderhub": __version__,
        "builder": "binderlet/base:test",
    }
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (await ask(app, "/versions", method="HEAD")).status == 200


def test_a_builder_without_an_image(stage: Stage) -> None:
    """``builder`` is left out where there is no build image."""
    services = replace(stage.services(), builder_info={"buildkit": "0.8"})
    assert "builder" not in versions_body(services)
