"""``python -m binderlet.cli`` is ``binderlet``."""

from __future__ import annotations

from binderlet.cli.main import run

run()
