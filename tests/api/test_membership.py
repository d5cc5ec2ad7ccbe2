"""What a member tells redirectors, and what its operator tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.applications import Starlette

from binderlet.api.membership import Wishes
from binderlet.api.ports import Services
from binderlet.api.routes import create_admin_app, create_app
from binderlet.errors import StoreUnavailable
from support.asgi import ask
from support.services import Stage


@dataclass
class FakeMembership:
    """Wishes in memory."""

    told: dict[str, Any] = field(default_factory=lambda: {"draining": False, "share": 1.0})
    expected: Mapping[str, Any] | None = None
    full: bool = False

    def wishes(self) -> Mapping[str, Any]:
        """Give them."""
        return self.told

    def versions(self) -> Mapping[str, Any] | None:
        """Give what is expected."""
        return self.expected

    def repositories(self) -> Sequence[str]:
        """Give one."""
        return ["00" * 8]

    async def wish(self, *, draining: bool | None = None, share: float | None = None) -> None:
        """Take it."""
        if self.full:
            raise StoreUnavailable("The disk is full.")
        wanted = {"draining": draining, "share": share}
        self.told |= {key: value for key, value in wanted.items() if value is not None}


@pytest.fixture
def member() -> FakeMembership:
    """The member."""
    return FakeMembership()


@pytest.fixture
def services(stage: Stage, member: FakeMembership) -> Services:
    """A service that takes part."""
    return replace(stage.services(), membership=member)


@pytest.fixture
def app(services: Services) -> Starlette:
    """Its public side."""
    return create_app(services)


@pytest.fixture
def admin(services: Services) -> Starlette:
    """Its operator's side."""
    return create_admin_app(services)


async def test_health_and_versions(app: Starlette, member: FakeMembership) -> None:
    """A member that is drained says so in a way that every redirector understands; versions may be the federation's."""
    assert (await ask(app, "/health")).json()["federation"] == {"draining": False, "share": 1.0}
    assert "binderhub" in (await ask(app, "/versions")).json()
    member.told["draining"], member.expected = True, {"builder": "theirs"}
    drained = await ask(app, "/health")
    assert (drained.status, drained.json()["ok"]) == (503, False)
    assert drained.json()["checks"][-2]["service"] == "Federation"
    assert (await ask(app, "/versions")).json() == {"builder": "theirs"}
    assert (await ask(app, "/api/federation/images")).json() == {"format": 1, "repositories": ["00" * 8]}


async def test_the_operator(admin: Starlette, member: FakeMembership) -> None:
    """The operator drains, asks for less, and takes it back; nonsense is refused; a full disk is said."""
    assert (await ask(admin, "/federation?draining=true", method="POST")).json()["draining"] is True
    assert (await ask(admin, "/federation?draining=false&share=0.5", method="POST")).json() == {
        "draining": False,
        "share": 0.5,
    }
    assert (await ask(admin, "/federation")).json()["share"] == 0.5
    for wrong in ("draining=maybe", "share=x", "share=2"):
        assert (await ask(admin, f"/federation?{wrong}", method="POST")).status == 400
    member.full = True
    assert (await ask(admin, "/federation?share=1", method="POST")).status == 503


def test_not_without_a_membership(stage: Stage) -> None:
    """The URLs are only there where somebody answers."""
    with pytest.raises(RuntimeError):
        _ = Wishes(stage.services())._member
