"""Settings: ``schema`` declares each with its default and its documentation, ``load`` reads them."""

from binderlet.config.schema import Settings

__all__ = ["Settings"]
