"""User-data for new machines."""

from __future__ import annotations

import json

import yaml

from binderlet.deploy.install.cloud_init import has_secrets, user_data

SECRET = {"settings": {"registry.s3.secret_key": "s3cret"}}


def test_it_is_cloud_config_that_installs() -> None:
    """The text is YAML with the header that cloud-init looks for; odd words arrive as they are, for root alone."""
    asked = {"domain": "b.org", "settings": {"pages.title": "It's\n«ours»: # 1", "limits.sessions": 5}}
    text = user_data("https://example.org/binderlet-1-py3-none-any.whl", asked)
    assert text.startswith("#cloud-config\n")
    read = yaml.safe_load(text)
    assert "python3-venv" in read["packages"]
    (file,) = read["write_files"]
    assert json.loads(file["content"]) == asked
    assert file["permissions"] == "0600"
    assert read["runcmd"][-1].endswith(f"boot/bin/binderlet install --asked-in {file['path']}")
    assert "pip install --quiet https://example.org/binderlet-1-py3-none-any.whl" in read["runcmd"][1]
    assert "holds keys" not in text


def test_keys_are_in_no_command() -> None:
    """Only the file has them, and the text says so."""
    text = user_data("binderlet==1", SECRET)
    assert has_secrets(SECRET)
    assert not has_secrets({"domain": "b.org"})
    assert "It holds keys" in text
    assert "s3cret" not in str(yaml.safe_load(text)["runcmd"])
