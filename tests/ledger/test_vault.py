"""The vault keeps names and card numbers, and gives nothing away."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ledger.pan import Pan
from ledger.vault import (
    KEY_FILE,
    VAULT_FILE,
    AccountRow,
    Vault,
    VaultConflictError,
    VaultError,
    VaultPermissionError,
)

NUMBERS = ["4111111111111111", "5500005555555559", "378282246310005"]
TOKENS = np.array([[1, 2], [3, 4], [2**64 - 1, 0]], np.uint64)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A vault with two accounts of one customer and three cards."""
    with Vault.open(tmp_path) as opened:
        opened.add_accounts(
            [AccountRow(1, "A1", 7, "C1", "standard"), AccountRow(2, "A2", 7, "C1", "gold")]
        )
        add(opened, [1, 2, 3], [1, 1, 2], TOKENS, NUMBERS)
        yield opened


def add(
    vault: Vault, cards: list[int], accounts: list[int], tokens: np.ndarray, numbers: list[str]
) -> None:
    """Add cards that expire in December 2030."""
    vault.add_cards(
        np.array(cards, np.uint32),
        np.array(accounts, np.uint32),
        tokens,
        [Pan(number) for number in numbers],
        np.full(len(cards), 3012, np.uint16),
    )


def test_names_and_numbers_lead_to_each_other(vault: Vault) -> None:
    """Accounts are found by name and named by number; strangers are 0, "" and None."""
    assert vault.account_number("A2") == 2
    assert vault.account_ref(2) == "A2"
    assert vault.customer_number("C1") == 7
    assert vault.account(1) == AccountRow(1, "A1", 7, "C1", "standard")
    assert vault.account_numbers(["A1", "nobody", "A2"]) == {"A1": 1, "A2": 2}
    assert vault.customer_numbers(["C1", "nobody"]) == {"C1": 7}
    assert vault.last_numbers() == (2, 3, 7)
    assert (vault.account_number("A3"), vault.account_ref(3), vault.account(3)) == (0, "", None)


def test_cards_show_bin_and_last_four(vault: Vault) -> None:
    """Every way to a card that shows it shows it masked."""
    assert [card.masked for card in vault.cards_of(1)] == ["411111******1111", "550000******5559"]
    assert vault.masked(1) == "411111******1111"
    assert vault.masked_many([3, 9]) == {3: "378282******0005"}
    card = vault.card_by_id("C3")
    assert card is not None
    assert (card.card_no, card.account_no, card.expiry_yymm) == (3, 2, 3012)
    assert vault.card_by_token(TOKENS[1]) == vault.card(2)


@pytest.mark.parametrize("card_id", ["", "3", "C", "C0", "C9", "c3", "C-3", "C3 ", "C" + "9" * 40])
def test_unknown_card_id_is_none(vault: Vault, card_id: str) -> None:
    """What is not the id of a card finds none."""
    assert vault.card_by_id(card_id) is None


def test_number_is_revealed_in_its_type(vault: Vault) -> None:
    """The clear number comes back only as a Pan."""
    assert [vault.reveal(n) for n in (1, 2, 3)] == [Pan(number) for number in NUMBERS]
    with pytest.raises(VaultError, match="C9 is not in the vault"):
        vault.reveal(9)


def test_tokens_survive_a_restart(vault: Vault, tmp_path: Path) -> None:
    """Tokens and keys are the same after closing and opening again."""
    keys = vault.keys
    vault.close()
    with Vault.open(tmp_path) as again:
        card_nos, tokens = again.load_tokens()
        assert again.keys == keys
        assert again.reveal(2) == Pan(NUMBERS[1])
    assert card_nos.tolist() == [1, 2, 3]
    assert np.array_equal(tokens, TOKENS)
    assert (card_nos.dtype, tokens.dtype) == (np.uint32, np.uint64)


def test_empty_vault_has_no_tokens(tmp_path: Path) -> None:
    """A fresh vault gives empty arrays of the right shape."""
    with Vault.open(tmp_path) as fresh:
        card_nos, tokens = fresh.load_tokens()
        assert fresh.last_numbers() == (0, 0, 0)
    assert card_nos.shape == (0,)
    assert tokens.shape == (0, 2)


def test_second_card_of_a_token_is_refused_whole(vault: Vault) -> None:
    """A card that exists stops all cards of the call, and the error has no number in it."""
    tokens = np.array([[9, 9], [1, 2]], np.uint64)
    with pytest.raises(VaultConflictError) as refusal:
        add(vault, [4, 5], [1, 1], tokens, ["4000000000000002", NUMBERS[0]])
    assert str(refusal.value) == "card already exists"
    assert refusal.value.__cause__ is None
    assert vault.last_numbers()[1] == 3


def test_second_account_of_a_name_is_refused(vault: Vault) -> None:
    """Names of accounts are unique."""
    with pytest.raises(VaultConflictError, match="account already exists"):
        vault.add_accounts([AccountRow(3, "A1", 8, "C2", "standard")])


def test_card_without_account_is_refused(vault: Vault) -> None:
    """A card belongs to an account that exists."""
    with pytest.raises(VaultError, match="account that does not exist"):
        add(vault, [4], [99], np.array([[9, 9]], np.uint64), ["4000000000000002"])


@pytest.mark.parametrize("numbers", [["4111"], [], ["4000000000000002", "5500005555555559"]])
def test_bad_columns_are_refused(vault: Vault, numbers: list[str]) -> None:
    """Wrong shapes and columns of different length are refused without a word about digits."""
    with pytest.raises(ValueError, match=r"12 to 19 digits|differ in length"):
        add(vault, [4], [1], np.array([[9, 9]], np.uint64), numbers)


def test_rows_the_journal_never_saw_are_dropped(vault: Vault) -> None:
    """Accounts and cards over the journal's numbers go, and cards of such accounts with them."""
    assert vault.drop_unjournalled(1, 1) == (1, 2)
    assert vault.last_numbers() == (1, 1, 7)
    assert vault.drop_unjournalled(1, 1) == (0, 0)


def test_clear_number_is_in_no_file(vault: Vault, tmp_path: Path) -> None:
    """Neither store, log nor key file holds a card number, in text or in BCD."""
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for number in NUMBERS:
        assert number.encode() not in data
        assert bytes.fromhex(number.ljust(16, "f")) not in data


def test_files_are_for_the_owner_only(vault: Vault, tmp_path: Path) -> None:
    """Every file has mode 0600."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.keys() >= {VAULT_FILE, KEY_FILE}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("name", [VAULT_FILE, KEY_FILE])
def test_file_open_to_others_is_refused(vault: Vault, tmp_path: Path, name: str) -> None:
    """A wrong mode is an error of the permission class that says what to do."""
    vault.close()
    (tmp_path / name).chmod(0o640)
    with pytest.raises(VaultPermissionError, match=r"0640.*chmod 600") as refusal:
        Vault.open(tmp_path)
    assert refusal.value.exit_code == 77


def test_missing_keys_are_not_replaced(vault: Vault, tmp_path: Path) -> None:
    """A vault without its key file is refused rather than given new keys."""
    vault.close()
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(VaultError, match="is missing"):
        Vault.open(tmp_path)
    assert not (tmp_path / KEY_FILE).exists()


def test_foreign_keys_are_refused(vault: Vault, tmp_path: Path) -> None:
    """The key file of another vault does not open this one."""
    vault.close()
    other = tmp_path / "other"
    other.mkdir()
    Vault.open(other).close()
    (other / KEY_FILE).replace(tmp_path / KEY_FILE)
    with pytest.raises(VaultError, match="does not belong"):
        Vault.open(tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[1]", b'{"token_key":"AA==","pan_key":"","hash_key":""}']
)
def test_bad_key_file_is_refused(vault: Vault, tmp_path: Path, text: bytes) -> None:
    """A key file that is cut short or of another kind is named as such."""
    vault.close()
    (tmp_path / KEY_FILE).write_bytes(text)
    with pytest.raises(VaultError, match="not a key file"):
        Vault.open(tmp_path)


def test_swapped_ciphertext_is_noticed(vault: Vault, tmp_path: Path) -> None:
    """A ciphertext moved to another card does not decrypt."""
    vault.close()
    connection = sqlite3.connect(tmp_path / VAULT_FILE)
    connection.execute(
        "UPDATE cards SET (pan_nonce, pan_ciphertext) ="
        " (SELECT pan_nonce, pan_ciphertext FROM cards WHERE card_no = 1) WHERE card_no = 2"
    )
    connection.commit()
    connection.close()
    with Vault.open(tmp_path) as altered, pytest.raises(VaultError, match="does not decrypt"):
        altered.reveal(2)


def test_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """Garbage instead of a store is one clear error."""
    Vault.open(tmp_path).close()
    (tmp_path / VAULT_FILE).write_bytes(b"no database" * 100)
    with pytest.raises(VaultError, match=r"vault\.db"):
        Vault.open(tmp_path)


def test_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    """A folder that is not there is an error of the vault, not a stack."""
    with pytest.raises(VaultError, match="cannot be opened"):
        Vault.open(tmp_path / "none")


def test_keys_do_not_print(vault: Vault) -> None:
    """Neither repr nor str of the keys shows any of them."""
    assert repr(vault.keys) == str(vault.keys) == "Keys([hidden])"


def _folder(path: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}


def test_what_reads_a_vault_changes_nothing(tmp_path: Path, vault: Vault) -> None:
    """Beside an engine it sees the newest rows; of a closed vault no file is made or touched."""
    with Vault.read(tmp_path) as reader:
        assert reader.masked(3) == "378282******0005"
        add(vault, [4], [1], np.array([[9, 9]], np.uint64), ["6011111111111117"])
        assert reader.masked(4) == "601111******1117"
        with pytest.raises(VaultError):
            reader.add_accounts([AccountRow(3, "A3", 8, "C2", "gold")])
    vault.close()
    before = _folder(tmp_path)
    assert sorted(before) == [VAULT_FILE, KEY_FILE]
    with Vault.read(tmp_path) as reader:
        assert reader.keys == vault.keys
        assert reader.masked(4) == "601111******1117"
    assert _folder(tmp_path) == before


def test_a_vault_that_cannot_be_read_is_named(tmp_path: Path, vault: Vault) -> None:
    """Not there, empty, open to others, or of another key: nothing is made in its place."""
    vault.close()
    kept, keys = (tmp_path / VAULT_FILE).read_bytes(), (tmp_path / KEY_FILE).read_bytes()
    (tmp_path / VAULT_FILE).unlink()
    with pytest.raises(VaultError, match=r"vault\.db: cannot be opened: No such file"):
        Vault.read(tmp_path)
    assert not (tmp_path / VAULT_FILE).exists()
    (tmp_path / VAULT_FILE).touch(0o600)
    with pytest.raises(VaultError, match=r"vault\.db: is no vault that can be read"):
        Vault.read(tmp_path)
    (tmp_path / VAULT_FILE).write_bytes(kept)
    (tmp_path / VAULT_FILE).chmod(0o640)
    with pytest.raises(VaultPermissionError):
        Vault.read(tmp_path)
    (tmp_path / VAULT_FILE).chmod(0o600)
    (tmp_path / "other").mkdir()
    Vault.open(tmp_path / "other").close()
    (tmp_path / KEY_FILE).write_bytes((tmp_path / "other" / KEY_FILE).read_bytes())
    with pytest.raises(VaultError, match="does not belong to"):
        Vault.read(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(keys)
    Vault.read(tmp_path).close()
