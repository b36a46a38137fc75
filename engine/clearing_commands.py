"""``de39 clearing`` and ``de39 repayment``: files of items into a running engine.

The file is read and checked whole first; then its items are sent in pieces, each item whole or not
at all. What is sent again posts nothing twice, so a file may be sent again after any failure.
"""

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from engine.clearing_file import Line, read_items
from engine.client_commands import Call, call_engine
from engine.command_options import TARGET, NegatableTarget, Progress, Target, print_json
from engine.errors import ProblemFoundError, UnavailableError, run_command
from engine.filing import Clearing, Item, Repayment
from ledger.pan import Pan

_PIECE_ITEMS = 2000
_TIMEOUT_S = 90.0
_SHOWN_MAX = 20  # unusual items that the summary lists; --report has them all
_USUAL = frozenset({"matched", "refunded", "reversed", "paid", "returned"})
_REPORT_COLUMNS = (
    "line", "id", "result", "record", "authorization", "matched_by", "flags", "reason",
)  # fmt: skip


@run_command
def clearing(
    file: Path,
    *,
    report: Path | None = None,
    target: NegatableTarget = TARGET,
    dry_run: bool = False,
) -> None:
    """Post a clearing file: presentments, refunds and clearing reversals.

    CSV with a header. Needed: id, amount_minor, currency, and pan or account. May be there: type
    (clearing, refund, reversal), authorization, lifecycle_id, rrn, terminal, acquirer,
    approval_code, mcc, pcode, final (yes, no), scheme, settlement_date, original_id. Exit code 1
    when an item was rejected.

    Parameters
    ----------
    file : Path
        The file.
    report : Path | None
        Write what became of every item to this CSV file.
    dry_run : bool
        Match and report, post nothing.
    """
    _send(file, Clearing, "/v1/clearings", report, target, is_dry=dry_run)


@run_command
def repayment(
    file: Path,
    *,
    report: Path | None = None,
    target: NegatableTarget = TARGET,
    dry_run: bool = False,
) -> None:
    """Post a repayment file: payments of customers, and payments returned.

    CSV with a header. Needed: id, account, amount_minor, currency. May be there: type (repayment,
    returned), value_date, original_id. Exit code 1 when an item was rejected.

    Parameters
    ----------
    file : Path
        The file.
    report : Path | None
        Write what became of every item to this CSV file.
    dry_run : bool
        Look and report, post nothing.
    """
    _send(file, Repayment, "/v1/repayments", report, target, is_dry=dry_run)


def _send(
    file: Path,
    kind: type[Item],
    path: str,
    report: Path | None,
    target: Target,
    *,
    is_dry: bool,
) -> None:
    lines = read_items(file, kind, Progress(lambda line: f"{line:,} lines read"))
    if report is not None:
        report.open("a", encoding="utf-8").close()  # what cannot be written is told before
    views: list[dict[str, Any]] = []
    progress = Progress(lambda count: f"{count:,} of {len(lines):,} items")
    for first in range(0, len(lines), _PIECE_ITEMS):
        piece = lines[first : first + _PIECE_ITEMS]
        body = {"items": [_plain(line.item) for line in piece], "dry_run": is_dry}
        how_far = f"{file}: {len(views)} of {len(lines)} items were answered"
        answer = _ask(Call("POST", path, body, _TIMEOUT_S), target, how_far)
        for line, view in zip(piece, answer["items"], strict=True):
            views.append({"line": line.line, **view})
        progress(len(views))
    if report is not None:
        _write_report(report, views)
    _show(file, lines, views, as_json=target.json, is_dry=is_dry)
    rejected = [view for view in views if view["reason"]]
    if rejected:
        worst = rejected[0]
        more = f" (and {len(rejected) - 1} more)" if len(rejected) > 1 else ""
        raise ProblemFoundError(
            f"{file}: line {worst['line']}: rejected: {worst['reason']}{more}; "
            f"the other items stand"
        )


def _ask(call: Call, target: Target, how_far: str) -> dict[str, Any]:
    """Make the call; where no answer comes, or an operator stops it, say how far the file was."""
    what = "send the whole file again, what is posted is not posted twice"
    try:
        return call_engine(call, target)
    except UnavailableError as problem:
        raise UnavailableError(f"{how_far}, then: {problem}; {what}") from None
    except KeyboardInterrupt:
        sys.stderr.write(f"de39: {how_far}, then: interrupted; {what}\n")
        raise


def _plain(item: Item) -> dict[str, Any]:
    """Return the item as JSON takes it; the card number goes to the engine in the clear."""
    values: dict[str, Any] = msgspec.structs.asdict(item)
    pan = values.get("pan")
    if isinstance(pan, Pan):
        values["pan"] = pan.digits()
    return {name: value for name, value in values.items() if value not in (None, "")}


def _show(
    file: Path, lines: list[Line], views: list[dict[str, Any]], *, as_json: bool, is_dry: bool
) -> None:
    counts = dict(sorted(Counter(view["result"] for view in views).items()))
    unusual = [view for view in views if view["result"] not in _USUAL or view["flags"]]
    if as_json:
        summary = {
            "file": str(file),
            "dry_run": is_dry,
            "items": len(lines),
            "rejected": sum(bool(view["reason"]) for view in views),
            "counts": counts,
            "unusual": unusual[:_SHOWN_MAX],
        }
        print_json(summary)
        return
    sys.stdout.write(f"{'would post' if is_dry else 'posted'} {file}: {len(lines)} items\n")
    for result, count in counts.items():
        sys.stdout.write(f"  {result:<18} {count}\n")
    for view in unusual[:_SHOWN_MAX]:
        flags = f" ({', '.join(view['flags'])})" if view["flags"] else ""
        why = f": {view['reason']}" if view["reason"] else ""
        sys.stdout.write(f"  line {view['line']}, {view['id']}: {view['result']}{flags}{why}\n")
    if len(unusual) > _SHOWN_MAX:
        sys.stdout.write(f"  and {len(unusual) - _SHOWN_MAX} more: see --report FILE\n")


def _write_report(path: Path, views: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_REPORT_COLUMNS)
        for view in views:
            values = {**view, "flags": " ".join(view["flags"])}
            writer.writerow([values[name] for name in _REPORT_COLUMNS])
