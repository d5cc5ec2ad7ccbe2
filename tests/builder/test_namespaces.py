"""Names of caches."""

from __future__ import annotations

from pathlib import Path

from binderlet.builder.namespaces import Namespaces


def test_secret_is_kept(tmp_path: Path) -> None:
    """The secret is made once, for us alone to read; owners differ from us and from each other."""
    first, second = Namespaces(tmp_path / "state" / "name"), Namespaces(tmp_path / "state" / "name")
    for one in (first, second, first):
        one.load()
    assert first.shared == second.shared != ""
    assert (tmp_path / "state" / "name").stat().st_mode & 0o777 == 0o600
    assert len({first.shared, first.of_owner("a"), first.of_owner("b")}) == 3
    assert first.of_owner("a") == second.of_owner("a")
