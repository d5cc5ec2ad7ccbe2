"""User-data for new machines."""

from __future__ import annotations

import shlex

import yaml

from binderlet.deploy.install.cloud_init import user_data


def test_it_is_cloud_config_that_installs() -> None:
    """The text is YAML with the header that cloud-init looks for; odd words arrive as they are."""
    options = ["--domain", "b.org", "--set", "pages.title=It's ours"]
    text = user_data("https://example.org/binderlet-1-py3-none-any.whl", options)
    assert text.startswith("#cloud-config\n")
    read = yaml.safe_load(text)
    assert "python3-venv" in read["packages"]
    *_, last = read["runcmd"]
    assert shlex.split(last)[1:] == ["install", *options]
    assert "pip install --quiet https://example.org/binderlet-1-py3-none-any.whl" in read["runcmd"][2]
