"""One script per figure; each prints one JSON line. ``_figure`` has the form, ``_launches`` a running service."""
