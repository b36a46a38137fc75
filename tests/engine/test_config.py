"""The configuration says what is wrong with it, where, and what would be right."""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import config_commands
from engine.config import Config, is_loopback, load_config, schema, show, split_address, variables
from engine.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str) -> Path:
    """Put a configuration file into the folder."""
    path = folder / "de39.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_is_the_defaults() -> None:
    """Nothing given is a whole configuration on loopback."""
    config = load_config()
    assert config == Config()
    assert config.listen[0].address == "127.0.0.1:8583"
    assert config.http.address == "127.0.0.1:8580"


def test_flags_over_variables_over_file(tmp_path: Path) -> None:
    """Each layer overrides the one before it."""
    path = write(
        tmp_path, '[http]\naddress = "127.0.0.1:1"\n[log]\nlevel = "debug"\n[rules]\nfile = "none"'
    )
    env = {"DE39_HTTP__ADDRESS": "127.0.0.1:2", "DE39_LOG__LEVEL": "error", "PATH": "/bin"}
    config = load_config(path, env, {"http.address": "127.0.0.1:3", "data": None})
    assert config.http.address == "127.0.0.1:3"
    assert config.log.level == "error"
    assert config.rules.file == "none"


def test_variables_reach_lists_and_types(tmp_path: Path) -> None:
    """Elements go by number, the next one is made, and text becomes the type of the key."""
    path = write(tmp_path, '[[listen]]\naddress = "127.0.0.1:1"')
    env = {
        "DE39_LISTEN__0__MAX_CONNECTIONS": "7",
        "DE39_LISTEN__0__REQUIRE_SIGN_ON": "true",
        "DE39_LISTEN__1__ADDRESS": "127.0.0.1:2",
        "DE39_LISTEN__1__ALLOW__0": "10.0.0.0/8",
        "DE39_CLOCK__SOURCE": "message",
        "DE39_CLOCK__START": "2026-01-31T00:00:00Z",
        "DE39_DATA": "/x",
    }
    config = load_config(path, env)
    assert (config.listen[0].max_connections, config.listen[0].require_sign_on) == (7, True)
    assert (config.listen[1].address, config.listen[1].allow) == ("127.0.0.1:2", ("10.0.0.0/8",))
    assert config.clock.start == datetime(2026, 1, 31, tzinfo=UTC)
    assert config.data == "/x"


def test_variables_of_other_parts_are_left_alone() -> None:
    """Single words after the prefix are no keys, the token above all."""
    assert load_config(None, {"DE39_ADMIN_TOKEN": "s", "DE39_KERNEL_CACHE": "/x"}) == Config()


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    """Paths in the file belong to its folder, words and flags do not."""
    path = write(tmp_path, 'data = "d"\n[rules]\nfile = "my.rules"\n[scoring]\nmodel = "none"')
    config = load_config(path)
    assert (config.data, config.rules.file) == (str(tmp_path / "d"), str(tmp_path / "my.rules"))
    assert config.scoring.model == "none"
    assert load_config(path, None, {"data": "e"}).data == "e"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = ", "not TOML: "),
        ("\n\nx = 1 2", "line 3"),
        ("dta = 1", "dta: unknown key; did you mean data?"),
        ("[htp]", "htp: unknown key; did you mean http?"),
        ("[rules]\nfil = 1", "rules.fil: unknown key; did you mean file?"),
        ("[rules]\nzzz = 1", "rules.zzz: unknown key; known are file"),
        ("[[listen]]\n[[listen]]\nport = 1", "listen[1].port: unknown key"),
        ("[http]\naddress = 1", "http.address: expected str, got int"),
        ("http = 1", "http: expected object, got int"),
        ("listen = []", "listen: expected array of length >= 1"),
        ("[listen]", "listen: expected array, got object"),
        ("[[listen]]\nmax_connections = 0", "listen[0].max_connections: expected int >= 1"),
        ("[[listen]]\nmax_connections = true", "listen[0].max_connections: expected int, got bool"),
        ("[limits]\nbatch_max_frames = 5000", "limits.batch_max_frames: expected int <= 4096"),
        ("[limits]\ncards_max = 1.5", "limits.cards_max: expected int, got float"),
        ('[ledger]\nstore = "s3"', "ledger.store: invalid enum value"),
        (
            '[ledger]\nstore = "postgres"\ndsn = "host=db password=s"',
            'ledger.dsn: expected "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"',
        ),
        (
            '[ledger]\nstore = "postgres"\nreplica_count = 1',
            "ledger.replica_count: needs ledger.dsn",
        ),
        ("[ledger]\nreplica_count = 1", "ledger.replica_count: only for store"),
        ('[ledger]\narchive_folder = "old"', "ledger.archive_folder: goes with archive_age_s or"),
        ("[ledger]\narchive_age_s = 1", "ledger.archive_folder: goes with archive_age_s or"),
        (
            '[ledger]\nstore = "postgres"\narchive_bytes = 1',
            "ledger.archive_folder: goes with archive_age_s or",
        ),
        ('[ledger]\nstore = "postgres"\nretry_s = 0', "ledger.retry_s: expected int >= 1"),
        ('[ledger]\ndsn = "postgresql://u:secret@h/d"', "ledger.dsn: only for store"),
        ('[http]\naddress = "127.0.0.1"', "http.address: expected HOST:PORT"),
        ('[http]\naddress = "127.0.0.1:99999"', "http.address: expected HOST:PORT"),
        ('[http]\naddress = "::1:80"', "http.address: an IPv6 host stands in brackets"),
        ('[http]\naddress = ":80"', "http.address: a host is missing"),
        ('[http]\naddress = "127.0.0.1:8583"', "http.address: 127.0.0.1:8583 is taken"),
        ('[[listen]]\naddress = "0.0.0.0:8583"', "listen[0].allow: needed"),
        ('[[listen]]\nallow = ["10.0.0.1/8"]', "listen[0].allow[0]: expected a network"),
        ('[[listen]]\ndialect = "nobody"', "listen[0].dialect: expected as2805, "),
        ('[clock]\nsource = "message"', "clock.start: needed"),
        ("[clock]\nstart = 2026-01-31T00:00:00", "clock.start: expected datetime with a timezone"),
        ('[rules]\nfile = ""', "rules.file: expected a path"),
        ('data = ""', "data: expected a folder"),
    ],
)
def test_bad_file_names_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    """One line names the file, the key path and what would be right, and shows no secret."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert expected in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "DE39_HTP__ADDRESS",
            "x",
            "no such key in the configuration; did you mean DE39_HTTP__ADDRESS",
        ),
        ("DE39_LISTEN__ADDRESS", "x", "no such key"),
        ("DE39_LISTEN__0", "x", "no such key"),
        ("DE39_HTTP__0", "x", "no such key"),
        ("DE39_LISTEN__5__ADDRESS", "127.0.0.1:1", "the list has no place 5"),
        ("DE39_LIMITS__CARDS_MAX", "many", "expected int"),
        ("DE39_LIMITS__CARDS_MAX", "0", "expected int >= 1"),
        ("DE39_HTTP__ADDRESS", "nowhere", "http.address: expected HOST:PORT"),
    ],
)
def test_bad_variable_is_named(name: str, value: str, expected: str) -> None:
    """An error in a variable starts with its name."""
    with pytest.raises(ConfigError) as refusal:
        load_config(None, {name: value})
    assert str(refusal.value).startswith(f"{name}: ")
    assert expected in str(refusal.value)


def test_variable_against_another_kind_in_the_file(tmp_path: Path) -> None:
    """A variable for a key of a table that the file has as a number is an error, not a crash."""
    with pytest.raises(ConfigError, match="another kind"):
        load_config(write(tmp_path, "http = 1"), {"DE39_HTTP__ADDRESS": "127.0.0.1:1"})


@pytest.mark.parametrize("data", [b"\xff", None])
def test_unreadable_file_is_a_clear_error(tmp_path: Path, data: bytes | None) -> None:
    """A missing file and one that is not UTF-8 are errors of the configuration."""
    path = tmp_path / "de39.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"cannot be read|not UTF-8"):
        load_config(path)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_config_or_its_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """No file content raises anything else."""
    path = tmp_path_factory.mktemp("any") / "de39.toml"
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigError:
        return


def test_shown_text_reads_back_the_same(tmp_path: Path) -> None:
    """What show prints is TOML of the same configuration."""
    env = {
        "DE39_CLOCK__SOURCE": "message",
        "DE39_CLOCK__START": "2026-01-31T00:00:00Z",
        "DE39_LISTEN__0__ADDRESS": "127.0.0.1:1",
        "DE39_LISTEN__1__ADDRESS": "[::1]:2",
        "DE39_DATA": '/with "quotes"\t\x7f',
    }
    config = load_config(None, env)
    assert load_config(write(tmp_path, show(config))) == config


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:S3cret@host/db",
        "host=h password=S3cret user=u",
        "host=h password = 'S3cret x'",
    ],
)
def test_password_is_not_shown(dsn: str) -> None:
    """The password of a DSN is hidden, in both of its forms; the rest stays."""
    from msgspec.structs import replace

    config = Config()
    shown = show(replace(config, ledger=replace(config.ledger, dsn=dsn)))
    assert "S3cret" not in shown
    assert "[hidden]" in shown


def test_schema_and_page_know_every_key() -> None:
    """The JSON Schema names every section, and the page in docs is the one made from the types."""
    assert {"Listen", "Ledger"} <= schema()["$defs"].keys()
    page = config_commands.configuration_page()
    for name in variables():
        assert f"`{name.split('__')[-1].removeprefix('DE39_').lower()}`" in page
    assert (ROOT / config_commands.PAGE).read_text(encoding="utf-8") == page


def test_commands_print(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The three commands print their result to stdout."""
    path = write(tmp_path, "")
    config_commands.config_check(path)
    config_commands.config_check(path, json=True)
    config_commands.config_show(path)
    config_commands.config_show(path, json=True)
    config_commands.config_schema()
    out = capsys.readouterr().out
    assert f"{path}: ok" in out
    assert json.dumps({"ok": True, "file": str(path)}) in out
    assert '[[listen]]\naddress = "127.0.0.1:8583"' in out
    assert '"$defs"' in out


def test_command_ends_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A wrong file ends the command with code 78 and one line on stderr."""
    with pytest.raises(SystemExit) as end:
        config_commands.config_check(write(tmp_path, "dta = 1"))
    assert end.value.code == 78
    captured = capsys.readouterr()
    assert captured.err.startswith("de39: error: ")
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_addresses_split() -> None:
    """Names, IPv4 and bracketed IPv6 come apart from their ports."""
    assert split_address("localhost:0") == ("localhost", 0)
    assert split_address("[::1]:8583") == ("::1", 8583)
    assert [
        is_loopback(h) for h in ("127.9.9.9", "::1", "localhost", "0.0.0.0", "bank.example")
    ] == [
        *(True, True, True),
        *(False, False),
    ]


def test_defaults_are_valid_toml() -> None:
    """The defaults print as TOML with every section."""
    assert set(tomllib.loads(show(Config()))) == set(Config.__struct_fields__)
