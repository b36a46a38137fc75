"""``de39 ledger prove``: receipts and consistency proofs, for anybody to verify offline."""

import sys
from pathlib import Path

import numpy as np

from engine.command_options import DATA_DEFAULT, Flag, Whole
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.inquiry import find_records
from ledger.proof.log import read_verifier
from ledger.proof.receipt import as_text, consistency_proof, receipt

_MATCHES_MAX = 1_000


@run_command
def prove(
    *,
    data: Path = DATA_DEFAULT,
    seq: Whole | None = None,
    rrn: str | None = None,
    since: Path | None = None,
    out: Path | None = None,
    key: Flag = False,
) -> None:
    """Write a receipt that a record stands in the ledger; tools/verify_receipt.py verifies it.

    The newest signed checkpoint must cover the record: a running engine signs one a second.

    Parameters
    ----------
    data
        The data folder; an engine may be running on it.
    seq
        The record's number.
    rrn
        Its retrieval reference number (DE37); the last record that has it.
    since
        An older checkpoint (a file): prove that the newest one only adds to it.
    out
        The file; standard output without it.
    key
        Print the public key for whoever verifies, and nothing else.
    """
    if [seq is not None, rrn is not None, since is not None, key].count(True) != 1:
        raise UsageError("expected one of --seq N, --rrn RRN, --since CHECKPOINT, --key")
    if key:
        text = _verifier(data) + "\n"
    elif since is not None:
        text = as_text(consistency_proof(data, _read(since)))
    else:
        text = as_text(receipt(data, seq if seq is not None else _numbered(data, str(rrn))))
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, "utf-8")
        sys.stderr.write(f"de39: wrote {out}; its key is in {data / 'proof' / 'verifier'}\n")


def _numbered(data: Path, rrn: str) -> int:
    """Return the number of the newest record with ``rrn``."""
    rows = find_records(data, rrn, None, _MATCHES_MAX)
    if not len(rows):
        raise ProblemFoundError(f"no record with RRN {rrn} in {data}")
    return max(int(np.asarray(row["seq"])) for row in rows)


def _verifier(data: Path) -> str:
    found = read_verifier(data)
    if found is None:
        raise ProblemFoundError(f"no checkpoint in {data} yet: an engine signs the first")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--since {path}: cannot be read ({error})") from None
