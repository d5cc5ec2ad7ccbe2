"""Sets up the log: readable text on a terminal, one JSON object per line elsewhere, and never a secret in either.

Lines of other libraries (uvicorn, aiohttp) take the same way.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, TextIO

import structlog
from pydantic import BaseModel, SecretStr
from structlog.typing import Processor

from binderlet.config.redact import MASK, redact
from binderlet.config.schema import LogSettings

SECRET_KEY = re.compile(r"token|secret|passw|authorization|cookie", re.IGNORECASE)
ROUTED = ("uvicorn", "uvicorn.error", "uvicorn.access")
"""Loggers that bring handlers and levels of their own, which are taken away."""
QUIET = ("aiohttp.access", "asyncio", "uvicorn.access")
"""Loggers that say nothing of use below a warning."""


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is now, so that a progress display that replaces it stays whole."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """The current standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        """Ignore it: there is nothing to remember."""


def configure_logs(settings: LogSettings, *, secrets: Iterable[str] = ()) -> None:
    """Send all log lines of this process to standard error, masking ``secrets`` wherever they occur."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_fields,
    ]
    hidden = tuple(secrets)
    handler = StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(as_json=as_json),
                lambda _logger, _method, line: redact(str(line), hidden),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ROUTED:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _renderer(*, as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


def mask_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the values of fields that are named like secrets; the text of the others is masked once it is written."""
    for name, value in event.items():
        if value and not name.startswith("_") and SECRET_KEY.search(name):
            event[name] = MASK
    return event


def secrets_of(settings: BaseModel) -> list[str]:
    """Give the text of every secret in the settings that is set."""
    return list(_secrets(settings))


def _secrets(section: BaseModel) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _secrets(value)
        elif isinstance(value, SecretStr) and value:
            yield value.get_secret_value()
