"""Errors that were put on record, or came from another process, made again."""

from __future__ import annotations

from binderlet.errors import BinderletError, BuildFailed


def restored(code: str, message: str, hint: str) -> BinderletError:
    """Make an error again that was put on record by its code; an unknown code gives a plain one."""
    waiting: list[type[BinderletError]] = [BinderletError]
    while waiting:
        kind = waiting.pop()
        if kind.code == code:
            return kind(message, hint=hint)
        waiting += kind.__subclasses__()
    return BuildFailed(message, hint=hint)
