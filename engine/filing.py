"""Clearing and repayment rows as people write them: checked one by one, then turned into columns.

The same structs come from a JSON body and from a CSV file (``engine.clearing_file``). A check says
what would be right and never repeats a card number.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from engine.admission import lifecycle_identity, rrn_identity
from engine.clearing import settle
from engine.importing import parse_currency, parse_ref
from engine.presentment import PRESENTMENT
from engine.replies import seq_of_approval
from engine.state import EngineState
from engine.terms import Terms
from ledger.pan import Pan, hide_pans
from ledger.record import RECORD, Flag, Kind

ITEM_MINOR_MAX = 10**12 - 1  # twelve digits, as DE4
ID_CHARACTERS_MAX = 64
ITEMS_MAX = 5000  # of one call
_ID = re.compile(r"[!-~]{1,64}")
_DATE = re.compile(r"20[0-9]{6}")

Minor: TypeAlias = Annotated[int, Meta(ge=1, le=ITEM_MINOR_MAX)]


class Clearing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item of a clearing: a presentment, a refund, or the reversal of one.

    ``id`` is what makes it one item (an ARN with its sequence number): the same id posts once.
    """

    id: str
    amount_minor: Minor
    currency: str
    type: Literal["clearing", "refund", "reversal"] = "clearing"
    pan: Pan | None = None  # the card, or
    account: str = ""  # the account
    authorization: Annotated[int, Meta(ge=0)] = 0  # record number of the authorization
    lifecycle_id: str = ""  # the network's number of the payment
    rrn: str = ""
    terminal: str = ""
    acquirer: str = ""
    approval_code: str = ""
    mcc: str = ""
    pcode: str = "000000"
    final: bool = True  # no further clearing of this authorization comes
    scheme: Annotated[int, Meta(ge=0, le=65_535)] = 0  # of NET_SETTLE
    settlement_date: str = ""  # YYYYMMDD; "" = today
    original_id: str = ""  # the item that a refund or reversal is about


class Repayment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money from the customer, or the return of such a payment."""

    id: str
    account: str
    amount_minor: Minor
    currency: str
    type: Literal["repayment", "returned"] = "repayment"
    value_date: str = ""  # YYYYMMDD; "" = today
    original_id: str = ""  # the payment that is returned


Item: TypeAlias = Clearing | Repayment
_KINDS = {
    "clearing": Kind.CLEARING,
    "refund": Kind.REFUND,
    "reversal": Kind.CLEARING_REVERSAL,
    "repayment": Kind.REPAYMENT,
    "returned": Kind.PAYMENT_RETURNED,
}


def faults_of(item: Item) -> Iterable[tuple[str, str]]:
    """Yield (field, what would be right) for what is wrong with ``item``."""
    if not _ID.fullmatch(item.id) or hide_pans(item.id) != item.id:
        yield "id", f"expected 1 to {ID_CHARACTERS_MAX} printable characters, no card number"
    if item.original_id and not _ID.fullmatch(item.original_id):
        yield "original_id", "expected the id of an item"
    elif item.type in ("reversal", "returned") and not item.original_id:
        yield "original_id", f"expected the id of the item that this {item.type} is about"
    yield from _parsed("currency", parse_currency, item.currency)
    if item.account:
        yield from _parsed("account", parse_ref, item.account)
    if isinstance(item, Repayment):
        if not item.account:
            yield "account", "expected an account"
        date, name = item.value_date, "value_date"
    else:
        yield from _clearing_faults(item)
        date, name = item.settlement_date, "settlement_date"
    if date and not _is_date(date):
        yield name, "expected a date as YYYYMMDD, such as 20260131"


def _is_date(text: str) -> bool:
    """Whether ``text`` is YYYYMMDD of a day that there is, in this century."""
    try:
        return bool(_DATE.fullmatch(text)) and bool(datetime.strptime(text, "%Y%m%d"))  # noqa: DTZ007
    except ValueError:
        return False


def _clearing_faults(item: Clearing) -> Iterable[tuple[str, str]]:
    if (item.pan is None) == (not item.account):
        yield "pan", "expected a card number or an account, one of the two"
    shapes = {
        "lifecycle_id": (r"[0-9]{0,15}", "at most fifteen digits"),
        "rrn": (r"[A-Za-z0-9 ]{0,12}", "at most twelve letters and digits"),
        "terminal": (r"[ -~]{0,8}", "at most eight characters"),
        "acquirer": (r"[0-9]{0,11}", "at most eleven digits"),
        "approval_code": (r"([0-9A-Z]{6})?", "six characters 0-9 A-Z"),
        "mcc": (r"([0-9]{4})?", "four digits"),
        "pcode": (r"[0-9]{6}", "six digits"),
    }
    for name, (shape, wanted) in shapes.items():
        if not re.fullmatch(shape, getattr(item, name)):
            yield name, f"expected {wanted}"


def _parsed(name: str, parse: Any, text: str) -> Iterable[tuple[str, str]]:
    try:
        parse(text)
    except ValueError as problem:
        yield name, str(problem)


def identity_of(text: str, hash_key: NDArray[np.uint64]) -> tuple[int, int]:
    """Return the 128-bit keyed hash of an item's id, (high, low); (0, 0) for ""."""
    if not text:
        return 0, 0
    digest = hashlib.blake2b(
        text.encode("ascii"), digest_size=16, key=hash_key.tobytes(), person=b"de39 filed"
    ).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1


def columns_of(
    items: Sequence[Item],
    owners: Sequence[tuple[int, int]],
    hash_key: NDArray[np.uint64],
    last_seq: int,
    today: int,
) -> NDArray[np.void]:
    """Return the items as PRESENTMENT (k,).

    Parameters
    ----------
    items
        Checked items.
    owners
        (account, card) of each, internal numbers; 0 = there is none.
    last_seq
        The last record of the ledger: approval codes are of the newest one that could have them.
    today
        YYYYMMDD, for items without a date.
    """
    rows = np.zeros(len(items), PRESENTMENT)
    words = np.empty(5, np.uint64)
    for row, item, (account, card) in zip(rows, items, owners, strict=True):
        row["id_hi"], row["id_lo"] = identity_of(item.id, hash_key)
        row["target_hi"], row["target_lo"] = identity_of(item.original_id, hash_key)
        row["kind"] = _KINDS[item.type]
        row["amount_minor"] = item.amount_minor
        row["currency"] = int(item.currency)
        row["account"], row["card"] = account, card
        row["acquirer"] = -1
        row["date"] = today
        if isinstance(item, Repayment):
            row["date"] = int(item.value_date or today)
            continue
        row["date"] = int(item.settlement_date or today)
        row["flags"] = Flag.FINAL if item.final else 0
        row["scheme"] = item.scheme
        row["pcode"] = int(item.pcode)
        row["mcc"] = int(item.mcc or 0)
        row["authorization"] = item.authorization
        row["approved_seq"] = seq_of_approval(item.approval_code, last_seq)
        row["acquirer"] = int(item.acquirer or -1)
        _place(row, item, hash_key, words)
    return rows


def settle_rows(
    state: EngineState, terms: Terms, rows: NDArray[np.void], now_ns: int, *, do_post: bool
) -> NDArray[np.void]:
    """Match and, with ``do_post``, post ``rows`` PRESENTMENT (k,), in and out; return the records.

    Between two batches, by the state's one owner.
    """
    state.make_room_for_posted(len(rows))
    records = np.zeros(len(rows), RECORD)
    count = settle(
        rows,
        state.accounts,
        state.ring,
        state.wheel,
        (
            (state.life_index.slots, state.rrn_index.slots),
            state.posted,
            state.posted_index.slots,
        ),
        (terms.over_per_10000, terms.over_least_minor),
        state.cursor,
        np.int64(now_ns),
        do_post,
        records,
    )
    return records[:count].copy()


def _place(
    row: Any, item: Clearing, hash_key: NDArray[np.uint64], words: NDArray[np.uint64]
) -> None:
    """Fill lifecycle id, RRN and terminal as card messages have them."""
    if int(item.lifecycle_id or 0) > 0:
        row["life_hi"], row["life_lo"] = lifecycle_identity(
            hash_key, np.int64(int(item.lifecycle_id)), words
        )
    if item.terminal:
        row["terminal"] = int.from_bytes(item.terminal.ljust(8).encode("ascii"), "little")
    if item.rrn:
        rrn = item.rrn.ljust(12).encode("ascii")
        row["rrn_a"] = int.from_bytes(rrn[:8], "little")
        row["rrn_b"] = int.from_bytes(rrn[8:], "little")
        row["rrn_hi"], row["rrn_lo"] = rrn_identity(
            hash_key,
            np.uint64(row["rrn_a"]),
            np.uint32(row["rrn_b"]),
            np.uint64(row["terminal"]),
            np.int64(row["acquirer"]),
            np.int64(-1),
            words,
        )
