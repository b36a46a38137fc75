"""``de39 ledger verify | audit | tail | export``: the journal, read without changing it."""

import contextlib
import sys
from pathlib import Path
from typing import Literal

import numpy as np

from engine.audit import INVARIANTS, Audit
from engine.command_options import DATA_DEFAULT, Whole, print_answer, print_json, records_progress
from engine.command_options import Flag as OptionFlag
from engine.decision import Decision
from engine.errors import Exit, UsageError, run_command
from engine.partition import StateFold
from engine.state import CLEARINGS_REMEMBERED, Bounds
from ledger import export as exporting
from ledger import verify as verifying
from ledger.errors import LedgerError
from ledger.pan import HIDDEN
from ledger.record import Flag, Kind
from ledger.rows import CardText
from ledger.stores.place import beginning_of, scan_journal
from ledger.vault import KEY_FILE, VAULT_FILE, Vault, VaultError

_DECISIONS = {int(decision): decision.name.lower() for decision in Decision}


@run_command
def verify(
    *,
    data: Path = DATA_DEFAULT,
    json: OptionFlag = False,
) -> None:
    """Read the whole journal: hashes, chain, numbering, and every balance replayed.

    Exit code 1 when it is damaged. An engine may be running on the folder.

    Parameters
    ----------
    data
        The data folder.
    json
        Print one JSON object: records, batches, approved, declined, head, state_hash, ok.
    """
    fold = fold_of(data)
    facts = verifying.verify(data, fold, on_progress=records_progress("verified"))
    print_answer(facts, as_json=json)
    if not facts["ok"]:
        raise SystemExit(Exit.PROBLEM_FOUND)


@run_command
def audit(
    *,
    data: Path = DATA_DEFAULT,
    json: OptionFlag = False,
) -> None:
    """Fold the journal twice, by the engine and by the postings table, and check every invariant.

    Exit code 1 when one does not hold. An engine may be running on the folder.

    Parameters
    ----------
    data
        The data folder.
    json
        Print one JSON object: records, accounts, postings, faults, first_faults, ok.
    """
    fold = fold_of(data)
    if fold is None:
        needed = f"{VAULT_FILE} and {KEY_FILE}"
        raise UsageError(f"{data}: an audit needs the vault ({needed}) beside a whole journal")
    auditor = Audit(fold)
    progress = records_progress("audited")
    for batch in scan_journal(data):
        auditor(batch)
        progress(auditor.records)
    facts = auditor.result()
    if json:
        print_json(facts)
    else:
        for name in ("records", "accounts", "postings", "faults"):
            sys.stdout.write(f"{name:<12} {facts[name]}\n")
        for name, text in INVARIANTS.items():
            broken = sum(fault.startswith(f"{name}:") for fault in facts["first_faults"])
            sys.stdout.write(f"{name:<4} {'BROKEN' if broken else 'holds '} {text}\n")
        for fault in facts["first_faults"]:
            sys.stdout.write(f"  {fault}\n")
    if not facts["ok"]:
        raise SystemExit(Exit.PROBLEM_FOUND)


@run_command
def tail(
    *,
    data: Path = DATA_DEFAULT,
    count: Whole = 10,
    follow: OptionFlag = False,
) -> None:
    """Print the last records, one JSON object a line; card numbers as BIN and last four.

    Parameters
    ----------
    data
        The data folder; an engine may be running on it.
    count
        How many records.
    follow
        Go on with each record that comes, until interrupted.
    """
    if count < 0:
        raise UsageError(f"--count {count}: expected 0 or more records")
    rows = verifying.tail(
        data, count, follow=follow, card_text=card_text_of(data), decisions=_DECISIONS
    )
    for row in rows:
        print_json(row)
        if follow:
            sys.stdout.flush()


@run_command
def export(
    *,
    data: Path = DATA_DEFAULT,
    format: Literal["csv", "jsonl", "parquet"] = "csv",  # noqa: A002 - the option's name
    out: Path | None = None,
) -> None:
    """Write every record, one row each: amounts in minor units, card as BIN and last four.

    Parameters
    ----------
    data
        The data folder; an engine may be running on it.
    format
        csv, jsonl or parquet.
    out
        The file; standard output without it (not for parquet).
    """
    if format == "parquet" and out is None:
        raise UsageError("--format parquet needs --out FILE")
    count = exporting.export(
        data,
        format,
        out,
        card_text=card_text_of(data),
        decisions=_DECISIONS,
        on_progress=records_progress("exported"),
    )
    sys.stderr.write(f"de39: {count:,} records exported\n")


def fold_of(data: Path) -> StateFold | None:
    """Return the fold that checks balances; its tables are as large as the journal needs."""
    if not ((data / KEY_FILE).exists() and (data / VAULT_FILE).exists()):
        return None
    if beginning_of(data) is not None:
        text = "older batches are archived: balances are not replayed here, see de39 ledger replay"
        sys.stderr.write(f"de39: {text}\n")
        return None
    with Vault.read(data) as vault:
        hash_key = np.frombuffer(vault.keys.hash_key, np.uint64).copy()
    return StateFold(bounds_needed(data), hash_key)


def bounds_needed(data: Path) -> Bounds:
    """Read the journal once for the largest numbers in it."""
    accounts = cards = messages = payments = filed = 1
    progress = records_progress("read")
    seen = 0
    # What is wrong with a journal is told by the pass that verifies it.
    with contextlib.suppress(LedgerError):
        for batch in scan_journal(data):
            records = batch.records
            if len(records):
                accounts = max(accounts, int(records["account"].max()))
                cards = max(cards, int(records["card"].max()))
                is_filed = (records["flags"] & np.uint32(Flag.FILED)) != 0
                is_other = np.isin(records["kind"], (Kind.LIMIT, Kind.EXPIRE)) | is_filed
                is_message = (records["kind"] < Kind.ACCOUNT_OPEN) & ~is_other
                messages += 2 * int(is_message.sum())
                payments += int(is_message.sum())
                filed += int(is_filed.sum())
            seen += len(records)
            progress(seen)
    ring = 1 << max(4, messages.bit_length() + 1)  # half of a small ring is spare
    clearings = max(CLEARINGS_REMEMBERED, 1 << filed.bit_length())
    return Bounds(accounts, cards, min(payments + 2, 1 << 20), ring, clearings_max=clearings)


def card_text_of(data: Path) -> CardText | None:
    """Return a look-up of masked card numbers in the vault; None = the BIN of the record only."""
    if not ((data / KEY_FILE).exists() and (data / VAULT_FILE).exists()):
        return None
    try:
        vault = Vault.read(data)
    except VaultError as problem:
        sys.stderr.write(f"de39: {problem}; cards are shown by their BIN only\n")
        return None
    known: dict[int, str] = {}

    def text(card: int, bin_digits: int) -> str:
        if card == 0:
            return f"{bin_digits:06d}" if bin_digits else ""
        if card not in known:
            known[card] = vault.masked(card) or HIDDEN
        return known[card]

    return text
