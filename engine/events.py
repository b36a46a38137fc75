"""Changes of accounts and cards as ledger records, and what they do to the state.

The same function applies an event when an operator makes it and when a restart reads it.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ledger.accounts import AccountStatus, set_limit
from ledger.authorizations import Cursor
from ledger.jit import Row, kernel
from ledger.record import RECORD, SCORE_NONE, Kind


class Outcome(IntEnum):
    """What became of an event."""

    OK = 0
    NO_ROOM = 1  # the account or card number lies past the stated bound
    UNKNOWN = 2  # names an account or card that was never opened


def event_record(kind: Kind, ts_ns: int, **fields: int) -> NDArray[np.void]:
    """Return one RECORD row of ``kind`` with ``fields`` set and all else neutral."""
    record = np.zeros(1, RECORD)
    record["kind"] = kind
    record["ts_ns"] = ts_ns
    record["acquirer"] = -1
    record["score"] = SCORE_NONE
    for name, value in fields.items():
        record[name] = value
    return record


@kernel
def apply_event(
    record: Row, accounts: NDArray[np.void], cards: NDArray[np.void], cursor: NDArray[np.int64]
) -> int:
    """Apply one account or card event; return an ``Outcome``. Other kinds change nothing here."""
    account = np.int64(record["account"])
    card = np.int64(record["card"])
    kind = record["kind"]
    if account >= accounts.shape[0] or card >= cards.shape[0]:
        return Outcome.NO_ROOM
    if kind == Kind.ACCOUNT_OPEN:
        _open(record, accounts[account])
        cursor[Cursor.ACCOUNTS] = max(cursor[Cursor.ACCOUNTS], account)
    elif kind in (Kind.LIMIT, Kind.ACCOUNT_STATUS, Kind.CARD_ISSUE):
        if accounts[account]["status"] == AccountStatus.NONE:
            return Outcome.UNKNOWN
        if kind == Kind.LIMIT:
            set_limit(accounts[account], record["amount_minor"])
        elif kind == Kind.ACCOUNT_STATUS:
            accounts[account]["status"] = record["status"]
        else:
            _issue(record, cards[card])
            cursor[Cursor.CARDS] = max(cursor[Cursor.CARDS], card)
    elif kind in (Kind.CARD_STATUS, Kind.CARD_FLAGS, Kind.CARD_ZONE):
        if cards[card]["account"] == 0:
            return Outcome.UNKNOWN
        if kind == Kind.CARD_STATUS:
            cards[card]["status"] = record["status"]
        elif kind == Kind.CARD_FLAGS:
            cards[card]["flags"] = record["status"]
    if account != 0:
        accounts[account]["last_seq"] = record["seq"]
        record["otb_after_minor"] = accounts[account]["otb_minor"]
        record["hold_after_minor"] = accounts[account]["hold_minor"]
    return Outcome.OK


@kernel
def _open(record: Row, account: Row) -> None:
    account["limit_minor"] = record["amount_minor"]
    account["otb_minor"] = record["amount_minor"]
    account["prepaid_minor"] = 0
    account["hold_minor"] = 0
    account["used_minor"] = 0
    account["over_minor"] = 0
    account["customer"] = record["customer"]
    account["currency"] = record["currency"]
    account["status"] = record["status"]
    account["product"] = record["product"]


@kernel
def _issue(record: Row, card: Row) -> None:
    card["account"] = record["account"]
    card["expiry_yymm"] = record["expiry_yymm"]
    card["status"] = record["status"]
    card["flags"] = 0


@kernel
def apply_events(
    records: NDArray[np.void],
    accounts: NDArray[np.void],
    cards: NDArray[np.void],
    cursor: NDArray[np.int64],
) -> int:
    """Number and apply new events in order; return how many went in before one could not."""
    for i in range(records.shape[0]):
        records[i]["seq"] = cursor[Cursor.NEXT_SEQ]
        if apply_event(records[i], accounts, cards, cursor) != Outcome.OK:
            return i
        cursor[Cursor.NEXT_SEQ] += 1
    return records.shape[0]


def apply_zones(records: NDArray[np.void], card_zones: NDArray[np.uint16]) -> None:
    """Give cards the zones that ``records`` RECORD (k,) say; ``apply_event`` has taken them."""
    rows = records[records["kind"] == Kind.CARD_ZONE]
    card_zones[rows["card"]] = rows["status"]
