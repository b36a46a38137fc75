"""What a configuration needs before anything is opened: dialects that demand keys have them."""

from pathlib import Path

import pytest

from engine.config import load_config
from engine.errors import ConfigError
from engine.parts import load_parts
from engine.rules.errors import RuleError

_KEYS = '[security]\nstore = "file"\n[[security_profile]]\nname = "a"\n'
_PLAIN = '[scoring]\nmodel = "none"\n[rules]\nfile = "none"\n'
_PEER = '[[peer]]\nname = "p"\nnetworks = ["127.0.0.1/32"]\ndialect = "as2805"\n'
_DIAL = '[[dial]]\nname = "n"\naddress = "127.0.0.1:9"\ndialect = "as2805"\n'
_LISTEN = '[[listen]]\ndialect = "as2805"\n'


def _load(folder: Path, text: str) -> list[str]:
    path = folder / "de39.toml"
    path.write_text(_PLAIN + text, encoding="utf-8")
    return [dialect.name for dialect in load_parts(load_config(path)).dialects]


@pytest.mark.behaviour(59)
@pytest.mark.parametrize(
    ("text", "key"),
    [
        (_LISTEN, "listen[0].security"),
        (_LISTEN + 'security = "a"\n' + _KEYS, "listen[0].security"),
        (_PEER, "peer[0].security"),
        (_DIAL, "dial[0].security"),
    ],
)
def test_a_dialect_that_demands_macs_is_not_served_without_a_key(
    tmp_path: Path, text: str, key: str
) -> None:
    """One line says which link, and what would be right."""
    with pytest.raises(ConfigError) as refusal:
        _load(tmp_path, text)
    told = str(refusal.value)
    assert told.startswith(f"{key}: expected a [[security_profile]] with a mac_key")
    assert "as2805" in told
    assert "\n" not in told


def test_a_rule_file_that_was_emptied_is_refused(tmp_path: Path) -> None:
    """It would switch every rule off."""
    rules, path = tmp_path / "own.rules", tmp_path / "de39.toml"
    rules.write_text("# all gone\n", encoding="utf-8")
    text = f'[scoring]\nmodel = "none"\n[rules]\nfile = "{rules}"\n'
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RuleError, match="holds no rules; to have none, state"):
        load_parts(load_config(path))


def test_with_a_key_it_is_served(tmp_path: Path) -> None:
    """The same listener, with a profile that names a key."""
    text = _LISTEN + 'security = "a"\n' + _KEYS + 'mac_key = "mac"\n'
    assert _load(tmp_path, text) == ["as2805"]
