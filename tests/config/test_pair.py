"""Settings of several control planes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from binderlet.config.pair import PairSettings


def test_renewed_in_time() -> None:
    """A Lease that could not be renewed twice before its time is up is refused."""
    assert PairSettings.model_validate({"lease_for": "6s", "renew_every": "2s"}).lease_for == 6
    with pytest.raises(ValidationError, match="a third"):
        PairSettings.model_validate({"lease_for": "5s", "renew_every": "2s"})
