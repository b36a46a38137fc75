"""Who is who: account and customer names, and card numbers under encryption, outside the journal.

The journal knows internal numbers only. This small mutable store (SQLite, one file, mode 0600) maps
names to numbers, tokens to cards, and keeps each PAN under AES-256-GCM, so that a person can be
erased without touching the chain. Keys lie beside it in a 0600 file, which is good enough for
development and not more. Every write is one transaction, on disk when the call returns.

Threads: every method takes the vault's lock, so any thread may call. Bulk calls hold it for seconds
and belong to start-up and import; the batch path never calls the vault.
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from ledger.pan import Pan

VAULT_FILE = "vault.db"
KEY_FILE = "vault.key"
TOKEN_BYTES = 16
NONCE_BYTES = 12
CARD_ID_PREFIX = "C"
_KEY_ID = 1  # room for one key a person: erasing the key erases the card number
_ASK_MAX = 500  # variables in one statement, under the oldest SQLite limit of 999

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
  account_no INTEGER PRIMARY KEY, account_ref TEXT NOT NULL UNIQUE,
  customer_no INTEGER NOT NULL, customer_ref TEXT NOT NULL, product TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS accounts_customer ON accounts (customer_ref);
CREATE TABLE IF NOT EXISTS cards (
  card_no INTEGER PRIMARY KEY, account_no INTEGER NOT NULL REFERENCES accounts,
  token BLOB NOT NULL UNIQUE, bin TEXT NOT NULL, last4 TEXT NOT NULL, expiry_yymm INTEGER NOT NULL,
  key_id INTEGER NOT NULL, pan_nonce BLOB NOT NULL, pan_ciphertext BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS cards_account ON cards (account_no);
CREATE TABLE IF NOT EXISTS pin_values (
  card_no INTEGER PRIMARY KEY REFERENCES cards ON DELETE CASCADE,
  nonce BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;
"""


class VaultError(Exception):
    """The vault cannot do it; the message names what and never a card number."""

    exit_code = 74


class VaultPermissionError(VaultError):
    """A vault file is open to others, or not ours."""

    exit_code = 77


class VaultConflictError(VaultError):
    """The card or account exists already."""

    exit_code = 1


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secrets: 32 bytes for tokens, 32 for card numbers, 16 for message hashes (SipHash)."""

    token_key: bytes
    pan_key: bytes
    hash_key: bytes

    def __repr__(self) -> str:
        return "Keys([hidden])"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return []


class AccountRow(NamedTuple):
    """Names of an account."""

    account_no: int
    account_ref: str
    customer_no: int
    customer_ref: str
    product: str


class CardRow(NamedTuple):
    """A card as it may be shown."""

    card_no: int
    card_id: str
    account_no: int
    masked: str
    expiry_yymm: int


class Vault:
    """The open vault of one data folder; see the module for the thread rule."""

    def __init__(self, connection: sqlite3.Connection, keys: Keys) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._aead = AESGCM(keys.pan_key)
        self.keys = keys

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the vault in ``folder``, made with fresh keys at first.

        Raises VaultPermissionError when a file is open to others, VaultError when the keys do not
        belong to the store or a file cannot be read or written.
        """
        path, key_path = Path(folder) / VAULT_FILE, Path(folder) / KEY_FILE
        try:
            keys = _open_keys(key_path, is_fresh=not path.exists())
            _own_file(path)
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as problem:
            raise VaultError(f"{path}: cannot be opened: {problem}") from problem
        try:
            vault = cls(connection, keys)
            vault._prepare(path, key_path)
        except BaseException:
            connection.close()
            raise
        return vault

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open the vault in ``folder`` to read it; nothing there is made or changed.

        An engine may be running, or the folder lie on a disk that cannot be written. Raises as
        ``open`` does, and VaultError where there is no vault.
        """
        path, key_path = Path(folder) / VAULT_FILE, Path(folder) / KEY_FILE
        # Without a log beside it nobody has the store open, and SQLite needs to make no files.
        is_open = path.with_name(f"{VAULT_FILE}-wal").exists()
        place = f"{path.absolute().as_uri()}?mode=ro{'' if is_open else '&immutable=1'}"
        try:
            _check_mode(path)
            keys = _open_keys(key_path, is_fresh=False)
            connection = sqlite3.connect(
                place, uri=True, check_same_thread=False, isolation_level=None
            )
        except (OSError, sqlite3.Error) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise VaultError(f"{path}: cannot be opened: {reason}") from problem
        try:
            vault = cls(connection, keys)
            vault._check_keys(path, key_path)
        except BaseException:
            connection.close()
            raise
        return vault

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_accounts(self, rows: Sequence[AccountRow]) -> None:
        """Add accounts, all or none; VaultConflictError when a number or name exists."""
        with self._transaction("account already exists") as connection:
            connection.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", rows)

    def add_cards(
        self,
        card_nos: NDArray[np.uint32],
        account_nos: NDArray[np.uint32],
        tokens: NDArray[np.uint64],
        pans: Sequence[Pan],
        expiries_yymm: NDArray[np.uint16],
    ) -> None:
        """Add cards, all or none; ``tokens`` is u64[n, 2], the others have n elements.

        Raises VaultConflictError when a card number or token exists, VaultError when an account
        does not, ValueError when a Pan is not 12 to 19 digits or the lengths differ.
        """
        count = len(pans)
        if not len(card_nos) == len(account_nos) == len(tokens) == len(expiries_yymm) == count:
            raise ValueError("the columns of the cards differ in length")
        if not all(pan.is_well_formed for pan in pans):
            raise ValueError("a card number has 12 to 19 digits")
        with self._transaction("card already exists") as connection:
            connection.executemany(
                "INSERT INTO cards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._sealed(card_nos, account_nos, tokens, pans, expiries_yymm),
            )

    def load_tokens(self) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """Return (card numbers u32[n], tokens u64[n, 2]) of all cards, by card number."""
        rows = self._ask("SELECT card_no, token FROM cards ORDER BY card_no")
        card_nos = np.fromiter((row[0] for row in rows), np.uint32, len(rows))
        tokens = np.frombuffer(b"".join(row[1] for row in rows), np.uint64).reshape(-1, 2)
        return card_nos, tokens.copy()

    def last_numbers(self) -> tuple[int, int, int]:
        """Return the highest account, card and customer number in use, 0 when none."""
        account, customer = self._ask(
            "SELECT coalesce(max(account_no), 0), coalesce(max(customer_no), 0) FROM accounts"
        )[0]
        return account, self._ask("SELECT coalesce(max(card_no), 0) FROM cards")[0][0], customer

    def drop_unjournalled(self, account_no_max: int, card_no_max: int) -> tuple[int, int]:
        """Drop rows over these numbers, whose journal event never became durable.

        Called at start, after the journal is read. Returns how many (accounts, cards) went.
        """
        with self._transaction("") as connection:
            cards = connection.execute(
                "DELETE FROM cards WHERE card_no > ? OR account_no > ?",
                (card_no_max, account_no_max),
            ).rowcount
            accounts = connection.execute(
                "DELETE FROM accounts WHERE account_no > ?", (account_no_max,)
            ).rowcount
        return accounts, cards

    def account_number(self, account_ref: str) -> int:
        """Return the internal number of an account, 0 when there is none of that name."""
        return self._number("SELECT account_no FROM accounts WHERE account_ref = ?", account_ref)

    def customer_number(self, customer_ref: str) -> int:
        """Return the internal number of a customer, 0 when there is none of that name."""
        return self._number("SELECT customer_no FROM accounts WHERE customer_ref = ?", customer_ref)

    def account_numbers(self, account_refs: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those of ``account_refs`` that exist."""
        sql = "SELECT account_ref, account_no FROM accounts WHERE account_ref IN "
        return dict(self._ask_in(sql, account_refs))

    def customer_numbers(self, customer_refs: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those of ``customer_refs`` that exist."""
        sql = "SELECT DISTINCT customer_ref, customer_no FROM accounts WHERE customer_ref IN "
        return dict(self._ask_in(sql, customer_refs))

    def account(self, account_no: int) -> AccountRow | None:
        """Return the names of an account, None when there is none."""
        rows = self._ask("SELECT * FROM accounts WHERE account_no = ?", (account_no,))
        return AccountRow(*rows[0]) if rows else None

    def account_ref(self, account_no: int) -> str:
        """Return the name of an account, "" when there is none."""
        row = self.account(account_no)
        return row.account_ref if row else ""

    def card(self, card_no: int) -> CardRow | None:
        """Return a card as it may be shown, None when there is none."""
        rows = self._cards("WHERE card_no = ?", card_no)
        return rows[0] if rows else None

    def card_by_id(self, card_id: str) -> CardRow | None:
        """Return the card of an id such as ``C12``, None when there is none."""
        number = card_id.removeprefix(CARD_ID_PREFIX)
        is_id = card_id != number and number.isascii() and number.isdigit() and len(number) <= 10
        return self.card(int(number)) if is_id else None

    def card_by_token(self, token: NDArray[np.uint64]) -> CardRow | None:
        """Return the card of a token u64[2], None when there is none."""
        rows = self._cards("WHERE token = ?", token.tobytes())
        return rows[0] if rows else None

    def cards_of(self, account_no: int) -> list[CardRow]:
        """Return the cards of an account, by card number."""
        return self._cards("WHERE account_no = ? ORDER BY card_no", account_no)

    def masked(self, card_no: int) -> str:
        """Return BIN and last four of a card, "" when there is none."""
        row = self.card(card_no)
        return row.masked if row else ""

    def masked_many(self, card_nos: Sequence[int]) -> dict[int, str]:
        """Return BIN and last four of those of ``card_nos`` that exist."""
        sql = f"SELECT card_no, {_MASKED} FROM cards WHERE card_no IN "  # noqa: S608 - constant
        return dict(self._ask_in(sql, [int(card_no) for card_no in card_nos]))

    def reveal(self, card_no: int) -> Pan:
        """Return the card number in its type; VaultError when there is none or it was altered."""
        rows = self._ask(
            "SELECT pan_nonce, pan_ciphertext FROM cards WHERE card_no = ?", (card_no,)
        )
        if not rows:
            raise VaultError(f"card {card_id_of(card_no)} is not in the vault")
        try:
            nonce, sealed = rows[0]
            clear = self._aead.decrypt(nonce, sealed, _associated(card_no))
        except InvalidTag:
            raise VaultError(f"card {card_id_of(card_no)}: its number does not decrypt") from None
        return Pan(clear.decode("ascii"))

    def put_pin_value(self, card_no: int, index: int, digits: str) -> None:
        """Keep what proves the PIN of a card: PVKI and PVV, or 0 and an IBM 3624 offset.

        It takes the place of what was kept before. ``VaultError`` when there is no such card.
        """
        nonce = os.urandom(NONCE_BYTES)
        clear = f"{index}{digits}".encode("ascii")
        sealed = self._aead.encrypt(nonce, clear, b"pin" + _associated(card_no))
        with self._transaction("") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO pin_values VALUES (?, ?, ?)", (card_no, nonce, sealed)
            )

    def load_pin_values(self) -> list[tuple[int, int, str]]:
        """Return (card number, PVKI, PVV or offset) of every card that has one."""
        values = []
        for card_no, nonce, sealed in self._ask("SELECT card_no, nonce, sealed FROM pin_values"):
            try:
                clear = self._aead.decrypt(nonce, sealed, b"pin" + _associated(card_no))
            except InvalidTag:
                raise VaultError(f"card {card_id_of(card_no)}: its PIN value was altered") from None
            values.append((card_no, int(clear[:1]), clear[1:].decode("ascii")))
        return values

    def _sealed(
        self,
        card_nos: NDArray[np.uint32],
        account_nos: NDArray[np.uint32],
        tokens: NDArray[np.uint64],
        pans: Sequence[Pan],
        expiries_yymm: NDArray[np.uint16],
    ) -> Iterator[tuple[int, int, bytes, str, str, int, int, bytes, bytes]]:
        token_bytes = np.ascontiguousarray(tokens, np.uint64).tobytes()
        # 96-bit random nonces are good for 2^32 card numbers under one key (SP 800-38D, 8.3).
        nonces = os.urandom(NONCE_BYTES * len(pans))
        numbers = zip(
            card_nos.tolist(), account_nos.tolist(), pans, expiries_yymm.tolist(), strict=True
        )
        for i, (card_no, account_no, pan, expiry) in enumerate(numbers):
            nonce = nonces[i * NONCE_BYTES : (i + 1) * NONCE_BYTES]
            token = token_bytes[i * TOKEN_BYTES : (i + 1) * TOKEN_BYTES]
            digits = pan.digits()
            sealed = self._aead.encrypt(nonce, digits.encode("ascii"), _associated(card_no))
            yield (
                *(card_no, account_no, token, digits[:6], digits[-4:]),
                *(expiry, _KEY_ID, nonce, sealed),
            )

    def _cards(self, where: str, value: int | bytes) -> list[CardRow]:
        sql = f"SELECT card_no, account_no, {_MASKED}, expiry_yymm FROM cards {where}"  # noqa: S608 - constants
        return [
            CardRow(card_no, card_id_of(card_no), account_no, masked, expiry)
            for card_no, account_no, masked, expiry in self._ask(sql, (value,))
        ]

    def _number(self, sql: str, name: str) -> int:
        rows = self._ask(sql + " LIMIT 1", (name,))
        return rows[0][0] if rows else 0

    def _ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as problem:
                raise VaultError(f"vault: {problem}") from None

    def _ask_in(self, sql: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        for first in range(0, len(values), _ASK_MAX):
            part = values[first : first + _ASK_MAX]
            yield from self._ask(f"{sql} ({','.join('?' * len(part))})", part)

    @contextmanager
    def _transaction(self, conflict: str) -> Iterator[sqlite3.Connection]:
        """One transaction: durable at the end, or nothing of it and a clear error."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.IntegrityError as problem:
                if "UNIQUE" in str(problem):
                    raise VaultConflictError(conflict) from None
                raise VaultError("card of an account that does not exist") from None
            except sqlite3.Error as problem:
                raise VaultError(f"vault: {problem}") from None

    def _prepare(self, path: Path, key_path: Path) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute("PRAGMA cache_size = -65536")  # 64 MiB: bulk token index
            self._connection.executescript(_SCHEMA)
            self._connection.execute(
                "INSERT OR IGNORE INTO meta VALUES ('key_mark', ?)", (_mark_of(self.keys),)
            )
        except sqlite3.Error as problem:
            raise VaultError(f"{path}: {problem}") from problem
        self._check_keys(path, key_path)

    def _check_keys(self, path: Path, key_path: Path) -> None:
        try:
            kept = self._ask("SELECT value FROM meta WHERE name = 'key_mark'")
        except VaultError as problem:
            raise VaultError(f"{path}: is no vault that can be read: {problem}") from None
        if not kept or not hmac.compare_digest(kept[0][0], _mark_of(self.keys)):
            raise VaultError(f"{key_path} does not belong to {path}: put the right key file back")


_MASKED = "bin || '******' || last4"


def _mark_of(keys: Keys) -> bytes:
    return hmac.digest(keys.token_key, b"de39 vault", hashlib.sha256)[:8]


def card_id_of(card_no: int) -> str:
    """Return the id that the outside sees."""
    return f"{CARD_ID_PREFIX}{card_no}"


def _associated(card_no: int) -> bytes:
    """Bind a ciphertext to its card, so that two rows cannot be swapped."""
    return card_no.to_bytes(8, "little")


def _own_file(path: Path) -> None:
    """Make ``path`` with mode 0600, or check that it has it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    _check_mode(path)


def _check_mode(path: Path) -> None:
    facts = path.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        raise VaultPermissionError(
            f"{path} has mode {mode:04o} and is open to others: run chmod 600 on it"
        )
    if facts.st_uid != os.geteuid():
        raise VaultPermissionError(f"{path} belongs to another user: give it to the one who serves")


def _open_keys(path: Path, *, is_fresh: bool) -> Keys:
    if not path.exists():
        if not is_fresh:
            raise VaultError(f"{path} is missing, and the vault cannot be read without it")
        _write_keys(path)
    _check_mode(path)
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=Keys)
    except msgspec.DecodeError as problem:
        raise VaultError(f"{path} is not a key file: {problem}") from None
    if (len(keys.token_key), len(keys.pan_key), len(keys.hash_key)) != (32, 32, 16):
        raise VaultError(f"{path} is not a key file: keys have 32, 32 and 16 bytes")
    return keys


def _write_keys(path: Path) -> None:
    """Write fresh keys; the file appears whole or not at all."""
    keys = Keys(secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_bytes(16))
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(keys) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
