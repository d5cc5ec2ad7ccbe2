"""Settings of backups that cannot work are refused when they are read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from binderlet.config.backup import BackupSettings


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"passphrase": "x", "recipients": ["age1x"]}, "choose one"),
        ({"to": "backups"}, "begins with /"),
        ({"every": "1d", "to": "bucket"}, "encrypts"),
        ({"every": "1d", "passphrase": "x"}, "every is set"),
    ],
)
def test_what_cannot_work(values: dict[str, object], match: str) -> None:
    """Each mistake is named."""
    with pytest.raises(ValidationError, match=match):
        BackupSettings.model_validate(values)


@pytest.mark.parametrize(
    "values", [{}, {"to": "/mnt/backups"}, {"to": "bucket", "every": "1d", "recipients": ["age1x"]}]
)
def test_what_can(values: dict[str, object]) -> None:
    """Nothing, a place, or all of it."""
    BackupSettings.model_validate(values)
