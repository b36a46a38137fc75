"""From a request to the rows that the scorer and the rules read; the same from a ledger record."""

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.items import Role
from ledger.jit import Row, kernel
from ledger.record import Flag
from scoring.payment import PaymentFlag

_NS = 1_000_000_000


@kernel
def fill_payments(
    first: int,
    last: int,
    items: NDArray[np.void],
    request: NDArray[np.void],
    accounts: NDArray[np.void],
    payments: NDArray[np.void],
    facts: NDArray[np.void],
    order: NDArray[np.int32],
) -> int:
    """Fill ``payments`` and ``facts`` of the authorizations that are recorded.

    Parameters
    ----------
    first, last : the rows looked at, up to ``last`` - 1.
    items : ITEM, matched; request : REQUEST; accounts : ACCOUNT.
    payments : PAYMENT, facts : RULE_FACTS, by item row, out.
    order : i32 (last - first,), out: those rows in order of arrival. Returns how many.
    """
    filled = 0
    for i in range(first, last):
        item = items[i]
        if item["role"] != Role.AUTHORIZE or item["record"] < 0:
            continue
        _fill_payment(item, request[i], payments[i])
        fact = facts[i]
        fact["merchant"] = request[i]["merchant"]
        fact["terminal"] = request[i]["terminal"]
        fact["acquirer"] = request[i]["acquirer"]
        fact["card"] = item["card"]
        fact["account"] = item["account"]
        fact["customer"] = 0
        fact["product"] = 0
        if item["account"] != 0:
            fact["customer"] = accounts[item["account"]]["customer"]
            fact["product"] = accounts[item["account"]]["product"]
        fact["pcode"] = max(request[i]["pcode"], 0)
        fact["flags"] = item["flags"]
        fact["bin"] = request[i]["bin"]
        fact["currency"] = item["currency"]
        order[filled] = i
        filled += 1
    return filled


@kernel
def _fill_payment(item: Row, row: Row, payment: Row) -> None:
    flags = 0
    if item["flags"] & Flag.CNP:
        flags |= PaymentFlag.CNP
    if item["flags"] & Flag.WALLET:
        flags |= PaymentFlag.WALLET
    if item["flags"] & Flag.TRAVEL_NOTICE:
        flags |= PaymentFlag.TRAVEL_NOTICE
    if item["flags"] & Flag.UNUSABLE:
        flags |= PaymentFlag.UNUSABLE
    payment["amount_minor"] = item["amount_minor"]
    if item["decision"] == Decision.PARTIALLY_APPROVED:  # in a replay: what was presented
        payment["amount_minor"] = item["requested_minor"]
    payment["t_s"] = item["ts_ns"] // np.uint64(_NS)
    payment["card"] = item["card"]
    payment["merchant"] = item["merchant"]
    payment["bin"] = row["bin"]
    payment["mcc"] = max(row["mcc"], 0)
    payment["country"] = max(row["country"], 0)
    payment["flags"] = flags
    payment["entry"] = item["entry_class"]
    payment["exponent"] = item["exponent"]


@kernel
def requests_of_records(records: NDArray[np.void], request: NDArray[np.void]) -> None:
    """Fill the REQUEST columns that matching and payments read, from ``records`` RECORD (k,)."""
    for i in range(records.shape[0]):
        record = records[i]
        row = request[i]
        row["pcode"] = record["pcode"]
        row["mcc"] = record["mcc"]
        row["country"] = record["country"]
        row["bin"] = record["bin"]
        row["merchant"] = record["merchant"]
        row["terminal"] = record["terminal"]
        row["acquirer"] = record["acquirer"]
