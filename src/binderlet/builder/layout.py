"""Where things are in the images that binderlet makes; the same places as in repo2docker's images."""

from __future__ import annotations

USER = "jovyan"
UID = 1000
HOME = "/home/jovyan"
REPO_DIR = HOME
"""The repository's files."""
PREFIX = "/srv/conda/envs/notebook"
"""The Python environment; scripts of repositories name this path."""
ENTRYPOINT = "/usr/local/bin/binderlet-entrypoint"
PORT = 8888
COMMAND = ("jupyter", "notebook", "--ip", "0.0.0.0")  # noqa: S104 - inside a session's own network
