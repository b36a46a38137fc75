"""The operators' token: found or made, and never in a file that others can read."""

from pathlib import Path

import pytest

from engine.admin.token import TOKEN_FILE, TOKEN_VARIABLE, find_token, is_same_token, load_token
from engine.errors import ConfigError, PermissionRefused, StorageFailure

TOKEN = "a-token-only-for-tests-0123456789"


def test_a_token_is_made_once_and_kept(tmp_path: Path) -> None:
    """The first start makes it with mode 0600; the next finds the same one."""
    made = load_token(tmp_path, {})
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    assert load_token(tmp_path, {}) == made == find_token(tmp_path, {})
    assert len(made) >= 40


def test_the_variable_comes_first(tmp_path: Path) -> None:
    """With the variable set no file is made or read."""
    assert load_token(tmp_path, {TOKEN_VARIABLE: TOKEN}) == TOKEN
    assert not (tmp_path / TOKEN_FILE).exists()
    assert find_token(None, {}) is None


@pytest.mark.parametrize(
    "token", ["", "short", "with blanks in it 0123456789", "x" * 513, "ü" * 20]
)
def test_a_weak_or_odd_token_is_refused_without_being_shown(tmp_path: Path, token: str) -> None:
    """The error names the variable or file, not the token."""
    with pytest.raises(ConfigError, match=TOKEN_VARIABLE) as raised:
        load_token(tmp_path, {TOKEN_VARIABLE: token})
    assert not token or token not in str(raised.value)


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The error names file and mode."""
    load_token(tmp_path, {})
    (tmp_path / TOKEN_FILE).chmod(0o640)
    with pytest.raises(PermissionRefused, match=r"admin\.token: mode is 0640"):
        load_token(tmp_path, {})


def test_a_token_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    """A data folder that is not there, or a folder in the file's place: one clear line."""
    with pytest.raises(StorageFailure, match=r"cannot keep the admin token"):
        load_token(tmp_path / "none", {})
    (tmp_path / TOKEN_FILE).mkdir()
    with pytest.raises(PermissionRefused, match=r"cannot read the admin token"):
        load_token(tmp_path, {})


def test_tokens_are_compared_whole() -> None:
    """Equal only when every character is; odd characters are no error."""
    assert is_same_token(TOKEN, TOKEN)
    assert not is_same_token(TOKEN[:-1], TOKEN)
    assert not is_same_token("\udcff", TOKEN)
