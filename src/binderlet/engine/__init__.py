"""Runs sessions: start, stop, list, watch. ``base`` is the port."""
