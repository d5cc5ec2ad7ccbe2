"""File, environment and flags become settings, or an error that says where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from binderlet.config.load import Loaded, Row, choose_file, is_secret, load
from binderlet.config.redact import MASK
from binderlet.errors import ConfigError

SECRET = "0123456789abcdef" * 4


def read(
    tmp_path: Path, text: str | None = None, environ: dict[str, str] | None = None, flags: dict[str, str] | None = None
) -> Loaded:
    """Load from a file with this text, these variables and these flags."""
    file = None
    if text is not None:
        file = tmp_path / "binderlet.toml"
        file.write_text(text, encoding="utf-8")
    return load(file, environ=environ or {}, flags=flags, usual_files=())


def origin(loaded: Loaded, key: str) -> str:
    """Where a value came from."""
    return next(row.origin for row in loaded.rows() if row.key == key)


def test_defaults(tmp_path: Path) -> None:
    """Without any source, every value is its default."""
    loaded = read(tmp_path)
    assert loaded.settings.server.port == 8585
    assert {row.origin for row in loaded.rows()} == {"default"}


def test_precedence(tmp_path: Path) -> None:
    """A flag wins over the environment, which wins over the file; each value remembers where it came from."""
    loaded = read(
        tmp_path,
        '[server]\nport = 1\nhost = "::"\ninstance = "one"\n',
        {"BINDERLET_SERVER__PORT": "2", "BINDERLET_SERVER__INSTANCE": "two", "PATH": "/bin"},
        {"server.port": "3"},
    )
    server = loaded.settings.server
    assert (server.port, server.instance, server.host) == (3, "two", "::")
    assert origin(loaded, "server.port") == "flag"
    assert origin(loaded, "server.instance") == "environment BINDERLET_SERVER__INSTANCE"
    assert origin(loaded, "server.host") == f"file {tmp_path / 'binderlet.toml'}"
    assert origin(loaded, "cull.idle") == "default"


def test_text_values(tmp_path: Path) -> None:
    """Text from variables and flags is read as the key's type, lists in two spellings."""
    loaded = read(
        tmp_path,
        None,
        {
            "BINDERLET_PROVIDERS__GIT__ALLOWED_PROTOCOLS": "https, file",
            "BINDERLET_LIMITS__BANNED_SPECS": '["gh/a,b/.*"]',
            "BINDERLET_SESSION__ENVIRONMENT": '{"A": "1"}',
            "BINDERLET_SESSION__ENVIRONMENT__MixedCase": "2",
            "BINDERLET_EVENTS__ARCHIVE": "false",
            "BINDERLET_CULL__IDLE": "5m",
        },
        {"session.environment.B": "3"},
    )
    settings = loaded.settings
    assert settings.providers.git.allowed_protocols == ["https", "file"]
    assert settings.limits.banned_specs == ["gh/a,b/.*"]
    assert settings.session.environment == {"A": "1", "MixedCase": "2", "B": "3"}
    assert settings.events.archive is False
    assert settings.cull.idle == 300


def test_origins_of_a_table(tmp_path: Path) -> None:
    """A table whose entries come from several places names all of them."""
    loaded = read(tmp_path, '[session.environment]\nA = "1"\n', flags={"session.environment.B": "2"})
    assert origin(loaded, "session.environment") == f"file {tmp_path / 'binderlet.toml'}, flag"


def test_tables_are_merged(tmp_path: Path) -> None:
    """A table given as JSON adds to the one in the file, and wins where both have a name."""
    loaded = read(
        tmp_path,
        '[session.environment]\nA = "1"\nB = "1"\n',
        {"BINDERLET_SESSION__ENVIRONMENT": '{"B": "2", "C": "2"}'},
    )
    assert loaded.settings.session.environment == {"A": "1", "B": "2", "C": "2"}


def test_empty_tables(tmp_path: Path) -> None:
    """Tables without keys change nothing."""
    assert origin(read(tmp_path, "[server]\n[session.environment]\n"), "session.environment") == "default"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("[server]\nprot = 1\n", "server.prot: unknown key (from file "),
        ("[serve]\nport = 1\n", "serve: unknown key (from file "),
        ("[server]\nport = 0\n", "server.port: must be greater than or equal to 1, not 0 (from file "),
        ("server = 5\n", "server: must be a table of keys"),
        ("[cull]\nidle = '10 parsecs'\n", "cull.idle: '10 parsecs' is not a duration"),
        ("[limits]\nbanned_specs = ['ok', '(']\n", "limits.banned_specs[1]: '(' is not a regular expression"),
    ],
)
def test_errors_in_the_file(tmp_path: Path, text: str, start: str) -> None:
    """An unknown key or a bad value in the file fails with a message that starts with the key's path."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BINDERLET_SERVER__PROT": "1"}, r"^server\.prot: .*BINDERLET_SERVER__PROT.*mean server\.port\?$"),
        ({"BINDERLET_NONSENSE": "1"}, r"^nonsense: unknown key \(from environment BINDERLET_NONSENSE\)\.$"),
        ({"BINDERLET_SERVER__PORT": "x"}, r"^server\.port: must be a valid integer, not 'x' \(from environment"),
        ({"BINDERLET_SERVER": "x"}, r"^server: must be a table"),
        ({"BINDERLET_SERVER": "x", "BINDERLET_SERVER__PORT": "1"}, r"^server: is a table of keys, not one value\.$"),
        ({"BINDERLET_SESSION__ENVIRONMENT": "A=1"}, r"^session\.environment: is not JSON"),
        ({"BINDERLET_LIMITS__BANNED_SPECS": "[x"}, r"^limits\.banned_specs: is not JSON"),
    ],
)
def test_errors_in_the_environment(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    """Variables are held to the same rules as the file."""
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, None, environ)


def test_errors_in_flags(tmp_path: Path) -> None:
    """Flags are held to the same rules as the file."""
    with pytest.raises(ConfigError, match=r"^server\.prot: unknown key \(from flag\)\. Did you mean server\.port\?$"):
        read(tmp_path, None, flags={"server.prot": "1"})


def test_every_problem_is_told(tmp_path: Path) -> None:
    """All problems are told at once, one line for each."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "[server]\nport = 0\nprot = 1\n", {"BINDERLET_CULL__IDLE": "x"})
    assert len(str(caught.value).splitlines()) == 3


def test_missing_file(tmp_path: Path) -> None:
    """A file that is named but not there is an error, never silently the defaults."""
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        load(tmp_path / "gone.toml", environ={})


@pytest.mark.parametrize("text", [b"port = = 1", b"a = '\xff'"])
def test_broken_file(tmp_path: Path, text: bytes) -> None:
    """A file that is not TOML is an error that names it."""
    file = tmp_path / "broken.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=r"broken\.toml: is not TOML: "):
        load(file, environ={})


def test_choice_of_file(tmp_path: Path) -> None:
    """The named file comes first, then the variable's, then the first usual one that is there."""
    usual = (tmp_path / "gone.toml", tmp_path / "here.toml", tmp_path / "also.toml")
    usual[1].touch()
    usual[2].touch()
    environ = {"BINDERLET_CONFIG": "/from/variable.toml"}
    assert choose_file(Path("/named.toml"), environ, usual) == Path("/named.toml")
    assert choose_file(None, environ, usual) == Path("/from/variable.toml")
    assert choose_file(None, {}, usual) == usual[1]
    assert choose_file(None, {}, ()) is None


def test_config_variable_is_no_key(tmp_path: Path) -> None:
    """The variable that names the file is not taken for a setting."""
    file = tmp_path / "x.toml"
    file.write_text("[server]\nport = 7\n", encoding="utf-8")
    loaded = load(environ={"BINDERLET_CONFIG": str(file)})
    assert (loaded.settings.server.port, loaded.file) == (7, file)


def test_rows_mask_secrets(tmp_path: Path) -> None:
    """Rows show no secret: not those of the schema, nor passwords in URLs, nor variables named like secrets."""
    loaded = read(
        tmp_path,
        f'[security]\nbuild_token_secret = "{SECRET}"\n'
        '[network]\nindex_url = "https://me:hunter2@host/simple"\nextra_index_urls = ["https://me:hunter2@more/"]\n'
        '[session.environment]\nAPI_TOKEN = "hunter2"\nPLAIN = "seen"\n',
    )
    rows = {row.key: row for row in loaded.rows()}
    assert rows["security.build_token_secret"].value == MASK
    assert rows["network.index_url"].value == f"https://{MASK}@host/simple"
    assert rows["session.environment"].value == {"API_TOKEN": MASK, "PLAIN": "seen"}
    assert rows["providers.gh.token"] == Row("providers.gh.token", "", "default")
    assert "hunter2" not in str(rows)
    assert SECRET not in str(rows) + repr(loaded)


def test_errors_mask_secrets(tmp_path: Path) -> None:
    """The message about a bad secret does not hold the secret."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, '[security]\nbuild_token_secret = "hunter2"\n[providers.gh]\ntoken = ["hunter2"]\n')
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("https://u:p@example.org/", True),
        ("https://example.org/", False),
        (["https://example.org/", "https://u:p@example.org/"], True),
        ({"MY_TOKEN": "x"}, True),
        ({"COLOUR": "red"}, False),
        (5, False),
    ],
)
def test_what_is_a_secret(value: object, secret: bool) -> None:  # noqa: FBT001 - a table's column
    """Passwords in URLs, and what variables hold that are named like secrets."""
    assert is_secret(value, "any") is secret
