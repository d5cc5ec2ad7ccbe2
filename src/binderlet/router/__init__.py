"""Leads ``/user/<id>/`` to sessions. ``base`` is the port; HAProxy carries every byte."""
