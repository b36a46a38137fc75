"""Accounts and cards from a CSV file: read whole, checked whole, then handed on; or refused whole.

The header is ``account,customer,product,currency,limit_minor,pan,expiry_yymm,status``, one card a
row, UTF-8; a ninth column ``zone`` may follow. Rows of one account must agree about the account. An
empty ``pan`` asks for a made one, an empty ``zone`` leaves the card in that of the rule set.
Every error names line, column and what would be right, and never shows a card number. The same
checks serve the HTTP interface, one value at a time.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine import limits
from engine.cards import CardStatus
from engine.errors import ProblemFoundError
from engine.zones import zone_number
from ledger import money
from ledger.accounts import AMOUNT_MINOR_MAX
from ledger.pan import DIGITS_MAX, DIGITS_MIN, Pan, luhn_digit

COLUMNS = (
    "account",
    "customer",
    "product",
    "currency",
    "limit_minor",
    "pan",
    "expiry_yymm",
    "status",
)
HEADER = ",".join(COLUMNS)
ZONE_COLUMN = "zone"  # an IANA name; may be left out
PRODUCT_DEFAULT = "standard"
# First digits of made card numbers: major industry 9 with a country number that ISO 3166 has not
# given out, so that they are nobody's.
MADE_BIN = "999900"
MADE_SERIAL_MAX = 10**9 - 1
PROBLEMS_MAX = 20  # read on after an error to report more, but not for ever
PROGRESS_ROWS = 65_536
_KNOWN_MAX = 1024  # values of a column that are not checked again
STATUSES = {s.name.lower(): int(s) for s in CardStatus if s is not CardStatus.NONE}
_REF = re.compile(r"[^\s\x00-\x1f\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?")
_CURRENCIES = {f"{number:03d}": number for number in money.CODE}

T = TypeVar("T")
Progress: TypeAlias = Callable[[int, int, int], None]


class Problem(NamedTuple):
    """One thing wrong with the file; ``column`` is "" when the whole line is."""

    line: int
    column: str
    text: str

    def __str__(self) -> str:
        where = f", column {self.column}" if self.column else ""
        return f"line {self.line}{where}: {self.text}"


class ImportFileError(ProblemFoundError):
    """The file has errors and nothing of it was applied; ``problems`` has the first of them."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.problems = problems
        more = "" if len(problems) == 1 else f" (and {len(problems) - 1} more)"
        if len(problems) >= PROBLEMS_MAX:
            more = f" (and {len(problems) - 1} or more others)"
        super().__init__(f"{path}: {problems[0]}{more}; nothing was imported")


@dataclass(frozen=True, slots=True)
class Import:
    """What a good file says. Accounts are in order of first appearance, cards in order of rows.

    ``currency`` u16[accounts], ``limit_minor`` i64[accounts]; ``card_account`` i64[cards] is the
    index of the card's account here, ``expiry_yymm`` u16[cards], ``status`` u16[cards] a
    CardStatus, ``is_made`` bool[cards]: the file left the card number open; ``zones`` u16[cards] is
    the card's time zone, 0 = none of its own.
    """

    accounts: list[str]
    customers: list[str]
    products: list[str]
    currency: NDArray[np.uint16]
    limit_minor: NDArray[np.int64]
    pans: list[Pan]
    card_account: NDArray[np.int64]
    expiry_yymm: NDArray[np.uint16]
    status: NDArray[np.uint16]
    is_made: NDArray[np.bool_]
    zones: NDArray[np.uint16]


def read_import(path: Path, *, first_serial: int, on_progress: Progress | None = None) -> Import:
    """Read and check a whole file.

    Parameters
    ----------
    path
        The CSV file.
    first_serial
        Serial of the first made card number; row k gets ``first_serial + k``. Give the next card
        number, so that no two imports make the same one.
    on_progress
        Called now and then with (rows, bytes read, bytes in all).

    Raises
    ------
    ImportFileError
        The file has errors; line, column and what would be right.
    OSError
        The file cannot be read.
    """
    reader = _Reader(path, first_serial)
    with path.open("rb") as file:
        reader.read(file, path.stat().st_size, on_progress)
    return reader.result()


def parse_ref(text: str) -> str:
    """Check the name of an account, customer or product; ValueError says what would be right."""
    if len(text) > limits.REF_CHARACTERS_MAX or not _REF.fullmatch(text):
        raise ValueError(
            f"expected 1 to {limits.REF_CHARACTERS_MAX} printable characters, no blank at the ends"
        )
    if _may_be_pan(text):
        raise ValueError("expected a name that cannot be taken for a card number")
    return text


def parse_currency(text: str) -> int:
    """Return the ISO 4217 number of three digits; ValueError says what would be right."""
    number = _CURRENCIES.get(text)
    if number is None:
        raise ValueError("expected an ISO 4217 number of three digits, such as 840")
    return number


def parse_limit(text: str) -> int:
    """Return a limit in minor units; ValueError says what would be right."""
    if not (
        text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= AMOUNT_MINOR_MAX
    ):
        raise ValueError(f"expected whole minor units, 0 to {AMOUNT_MINOR_MAX}")
    return int(text)


def parse_pan(text: str) -> Pan:
    """Return a card number whose check digit holds; ValueError says what would be right."""
    pan = Pan(text)
    if not pan.is_well_formed:
        raise ValueError(_PAN_SHAPE)
    if not pan.is_luhn_ok:
        raise ValueError(_PAN_LUHN)
    return pan


def parse_expiry(text: str) -> int:
    """Return YYMM as a number; ValueError says what would be right."""
    if not (len(text) == 4 and text.isascii() and text.isdigit() and 1 <= int(text[2:]) <= 12):
        raise ValueError("expected four digits YYMM, such as 3012 for December 2030")
    return int(text)


def parse_status(text: str) -> int:
    """Return the CardStatus of a word; ValueError says what would be right."""
    status = STATUSES.get(text)
    if status is None:
        raise ValueError(f"expected {', '.join(STATUSES)}")
    return status


def made_pan(serial: int) -> Pan:
    """Return the card number of 16 digits made for ``serial`` (0 to 999,999,999): Luhn holds."""
    if not 0 <= serial <= MADE_SERIAL_MAX:
        raise ValueError(f"card numbers are made for serials 0 to {MADE_SERIAL_MAX}")
    prefix = f"{MADE_BIN}{serial:09d}"
    return Pan(prefix + luhn_digit(prefix))


_PAN_SHAPE = f"expected a card number of {DIGITS_MIN} to {DIGITS_MAX} digits"
_PAN_LUHN = "the check digit does not hold (Luhn); expected a card number without a typing error"


def _may_be_pan(text: str) -> bool:
    return len(text) >= DIGITS_MIN and Pan(text).is_luhn_ok


class _Account(NamedTuple):
    position: int
    line: int
    facts: tuple[str, str, int, int]


@dataclass(slots=True)
class _Reader:
    """The file on its way in; problems are gathered, and end it when there are PROBLEMS_MAX."""

    path: Path
    first_serial: int
    line: int = 0
    known: tuple[dict[str, Any], ...] = field(
        default_factory=lambda: tuple({} for _ in (*COLUMNS, ZONE_COLUMN))
    )
    width: int = len(COLUMNS)
    problems: list[Problem] = field(default_factory=list)
    accounts: dict[str, _Account] = field(default_factory=dict)
    line_of_pan: dict[Pan, int] = field(default_factory=dict)
    card_account: list[int] = field(default_factory=list)
    expiries: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    is_made: list[bool] = field(default_factory=list)
    zones: list[int] = field(default_factory=list)

    def read(self, file: BinaryIO, size: int, on_progress: Progress | None) -> None:
        rows = csv.reader(self._lines(file), strict=True)
        try:
            self.width = _width_of(next(rows, []))
            for row in rows:
                if row:
                    self._row(row)
                if on_progress is not None and self.line % PROGRESS_ROWS == 0:
                    on_progress(len(self.card_account), file.tell(), size)
                if len(self.problems) >= PROBLEMS_MAX:
                    return
        except (csv.Error, _UnreadableError) as problem:
            self.problems.append(Problem(max(self.line, 1), "", str(problem)))
        if not self.card_account and not self.problems:
            self._fault("", "expected at least one row after the header")

    def result(self) -> Import:
        if self.problems:
            raise ImportFileError(self.path, self.problems)
        facts = [account.facts for account in self.accounts.values()]
        return Import(
            accounts=list(self.accounts),
            customers=[fact[0] for fact in facts],
            products=[fact[1] for fact in facts],
            currency=np.array([fact[2] for fact in facts], np.uint16),
            limit_minor=np.array([fact[3] for fact in facts], np.int64),
            pans=list(self.line_of_pan),
            card_account=np.array(self.card_account, np.int64),
            expiry_yymm=np.array(self.expiries, np.uint16),
            status=np.array(self.statuses, np.uint16),
            is_made=np.array(self.is_made, np.bool_),
            zones=np.array(self.zones, np.uint16),
        )

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        """Yield the lines of the file as text, counting them."""
        while raw := file.readline(limits.IMPORT_LINE_BYTES_MAX + 1):
            self.line += 1
            if len(raw) > limits.IMPORT_LINE_BYTES_MAX:
                raise _UnreadableError(f"longer than {limits.IMPORT_LINE_BYTES_MAX} bytes")
            try:
                yield raw.decode("utf-8-sig" if self.line == 1 else "utf-8")
            except UnicodeDecodeError as problem:
                raise _UnreadableError(f"not UTF-8 at byte {problem.start + 1}") from None

    def _row(self, row: list[str]) -> None:
        if len(row) != self.width:
            self._fault("", f"expected {self.width} fields, found {len(row)}")
            return
        if len(self.card_account) >= limits.IMPORT_ROWS_MAX:
            raise _UnreadableError(f"expected at most {limits.IMPORT_ROWS_MAX} rows")
        before = len(self.problems)
        facts = (
            self._checked(1, row, parse_ref, ""),
            self._checked(2, row, parse_ref, PRODUCT_DEFAULT),
            self._checked(3, row, parse_currency, 0),
            self._checked(4, row, parse_limit, 0),
        )
        ref = self._checked(0, row, parse_ref, "")
        pan = self._pan(row[5])
        self.expiries.append(self._checked(6, row, parse_expiry, 0))
        self.statuses.append(self._checked(7, row, parse_status, 0))
        self.is_made.append(not row[5])
        has_zone = self.width > len(COLUMNS)
        self.zones.append(self._checked(8, row, zone_number, 0) if has_zone else 0)
        account = -1
        if len(self.problems) == before:
            account = self._account(ref, facts)
        self.card_account.append(account)
        self._once(pan)

    def _checked(self, i: int, row: list[str], parse: Callable[[str], T], empty: T) -> T:
        text = row[i]
        known: dict[str, T] = self.known[i]
        if text in known:
            return known[text]
        if not text and empty == PRODUCT_DEFAULT:
            return empty
        try:
            value = parse(text)
            if len(known) < _KNOWN_MAX:
                known[text] = value
            return value  # noqa: TRY300 - what follows is the error
        except ValueError as problem:
            self._fault((*COLUMNS, ZONE_COLUMN)[i], str(problem))
            return empty

    def _pan(self, text: str) -> Pan | None:
        try:
            if text:
                return parse_pan(text)
            return made_pan(self.first_serial + len(self.card_account))
        except ValueError as problem:
            self._fault("pan", str(problem))
            return None

    def _account(self, ref: str, facts: tuple[str, str, int, int]) -> int:
        known = self.accounts.get(ref)
        if known is None:
            known = self.accounts[ref] = _Account(len(self.accounts), self.line, facts)
        elif known.facts != facts:
            names = zip(COLUMNS[1:5], known.facts, facts, strict=True)
            column = next(name for name, first, other in names if first != other)
            self._fault(column, f"expected the same as on line {known.line} for this account")
        return known.position

    def _once(self, pan: Pan | None) -> None:
        if pan is None:
            return
        first = self.line_of_pan.setdefault(pan, self.line)
        if first != self.line:
            self._fault("pan", f"expected each card once; the same number is on line {first}")

    def _fault(self, column: str, text: str) -> None:
        self.problems.append(Problem(self.line, column, text))


def _width_of(row: list[str]) -> int:
    """Return how many columns the rows have by the header."""
    if tuple(row) not in (COLUMNS, (*COLUMNS, ZONE_COLUMN)):
        raise _UnreadableError(f"expected the header {HEADER}")
    return len(row)


class _UnreadableError(Exception):
    """The rest of the file makes no sense."""
