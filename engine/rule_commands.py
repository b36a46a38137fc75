"""``de39 rules apply``, ``promote``, ``list add`` and so on, by the API of a running engine."""

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.client_commands import Call, ask, call_engine, naming_file, write
from engine.command_options import (
    CHANGE,
    TARGET,
    Change,
    Flag,
    Target,
    Whole,
    Why,
    print_answer,
    print_json,
)
from engine.errors import ConfigError, UsageError, run_command
from engine.rules.language import text_of

_VALUE = re.compile(r"value ([0-9]+): ")
_TTL = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TIMEOUT_S = 600.0
_BATCH_LINES = 500_000  # of a list file, in one call


@run_command
def show(*, text: Flag = False, of: str = "", target: Target = TARGET) -> None:
    """Show the rule set in force: each rule's mode, hits, precision, and what its breaker saw.

    Parameters
    ----------
    text
        Show the set itself, as a rule file.
    of
        With --text: of the proposal with this hash, or its first eight digits or more.
    """
    if of and not text:
        raise UsageError("--of: goes with --text")
    if text:
        told = call_engine(Call("GET", f"/v1/rules/text?sha256={quote(of, safe='')}"), target)
        if target.json:
            print_json(told)
        else:
            sys.stdout.write(told["text"])
        return
    answer = call_engine(Call("GET", "/v1/rules"), target)
    if target.json:
        print_json(answer)
        return
    sys.stdout.write(f"version {answer['version']}, model {answer['model_mode']}\n")
    for rule in answer["rules"]:
        mode = rule["mode"] if rule["mode"] == rule["file_mode"] else f"{rule['mode']}*"
        limit = rule["breaker_limit"]
        breaker = f"  refused {rule['refused_of_window']}/{limit}" if limit is not None else ""
        sys.stdout.write(
            f"  {rule['rule']:<12} {rule['phase']:<4} {mode:<8} {rule['action']:<8} "
            f"hits {rule['hits']:>8,}{_precision(rule)}{breaker}{_cost(rule)}  {rule['text']}\n"
        )
    for waiting in answer["proposals"]:
        version = waiting["sha256"][:12]
        sys.stdout.write(f"  waits for approval: {version} of {waiting['operator']}\n")
        sys.stdout.write("".join(f"    {line}\n" for line in waiting["changes"]))


def _precision(rule: dict[str, Any]) -> str:
    """Return the frauds among its hits that have a label by now."""
    if rule["precision"] is None:
        return ""
    return f"  frauds {rule['precision']:.1%} of {rule['labelled_hits']:,}"


def _cost(rule: dict[str, Any]) -> str:
    """Return what it costs a payment, alone, where it has been measured by now."""
    cost_ns = rule.get("cost_ns")
    return "" if cost_ns is None else f"  {cost_ns:.1f} ns"


@run_command
def apply(file: Path, /, *, why: Why = "", target: Target = TARGET, dry_run: Flag = False) -> None:
    """Put a rule file in force, between two batches; a bad file changes nothing.

    Parameters
    ----------
    file
        The rule file.
    dry_run
        Let the engine check the file and change nothing.
    """
    body = {"text": text_of(file), "reason": why, "dry_run": dry_run}
    with naming_file(r"^request(?=:)", lambda _: str(file), ConfigError):
        answer = call_engine(Call("POST", "/v1/rules", body, _TIMEOUT_S), target)
    if target.json:
        print_json(answer)
        return
    for warning in answer["warnings"]:
        sys.stdout.write(f"{file}: warning: {warning}\n")
    sys.stdout.write("".join(f"  {line}\n" for line in answer["changes"]))
    where = f" since record {answer['record']}" if "record" in answer else ""
    swap = f", swapped in {answer['swap_us']:.0f} us" if "swap_us" in answer else ""
    rules = f"{answer['rules']} rules, version {answer['version']}"
    sys.stdout.write(f"{file}: {answer['state']}{where}: {rules}{swap}\n")


@run_command
def approve(sha256: str, /, *, why: Why = "", target: Target = TARGET) -> None:
    """Put in force the rule set that another operator has proposed.

    Parameters
    ----------
    sha256
        Its hash, or the first eight digits or more.
    """
    _post("/v1/rules/approve", {"sha256": sha256, "reason": why}, target)


@run_command
def reload(*, why: Why = "", target: Target = TARGET) -> None:
    """Put the configured rule file in force anew, in the modes that it states."""
    _post("/v1/rules/reload", {"reason": why}, target)


@run_command
def promote(rule: str, /, *, why: Why = "", change: Change = CHANGE) -> None:
    """Let a rule act from the next request on; "model" lets all rules that read the score act.

    Parameters
    ----------
    rule
        Its id.
    """
    _set_mode(rule, "active", why, change)


@run_command
def demote(rule: str, /, *, why: Why = "", off: Flag = False, change: Change = CHANGE) -> None:
    """Let a rule only be recorded from the next request on; with --off not even that.

    Parameters
    ----------
    rule
        Its id, or "model" for all rules that read the score.
    off
        Switch it off: it is not evaluated any more.
    """
    mode = "off" if off else "shadow"
    _set_mode(rule, mode, why, change)


@run_command
def snooze(
    rule: str,
    /,
    *,
    card: Whole,
    ttl: str = "24h",
    why: Why = "",
    target: Target = TARGET,
) -> None:
    """Let a rule leave one card alone for a time.

    Parameters
    ----------
    rule
        Its id.
    card
        Internal number of the card, as "account show" prints it.
    ttl
        For how long, such as 30m, 24h or 7d; 0s wakes the rule again.
    """
    body = {"card": card, "ttl_s": _ttl_s(ttl), "reason": why}
    _post(f"/v1/rules/{quote(rule, safe='')}/snooze", body, target)


@run_command
def list_add(
    name: str,
    /,
    *values: str,
    type: str = "",  # noqa: A002 - the word of the language
    ttl: str = "",
    why: Why = "",
    target: Target = TARGET,
    dry_run: Flag = False,
) -> None:
    """Add entries to a list; they count from the next request on.

    Parameters
    ----------
    name
        The list.
    values
        Entries, as a rule file writes them (terminals without quotes).
    type
        Of the entries, where no rule declares the list.
    ttl
        How long they count, such as 24h; nothing = until removed.
    dry_run
        Let the engine check the entries and change nothing.
    """
    body: dict[str, Any] = {"change": "add", "values": list(values), "type": type, "reason": why}
    body |= {"ttl_s": _ttl_s(ttl) if ttl else 0, "dry_run": dry_run}
    _post(_list_path(name), body, target)


@run_command
def list_remove(
    name: str,
    /,
    *values: str,
    every: Flag = False,
    why: Why = "",
    target: Target = TARGET,
    dry_run: Flag = False,
) -> None:
    """Remove entries from a list, or with --every all of them.

    Parameters
    ----------
    name
        The list.
    values
        Entries, as a rule file writes them (terminals without quotes).
    every
        Remove all entries; those that the rule file states stay.
    dry_run
        Let the engine check the entries and change nothing.
    """
    if every == bool(values):
        raise UsageError("give the entries to remove, or --every")
    change = "clear" if every else "remove"
    body = {"change": change, "values": list(values), "reason": why, "dry_run": dry_run}
    _post(_list_path(name), body, target)


@run_command
def list_load(
    name: str,
    file: Path,
    /,
    *,
    type: str = "",  # noqa: A002 - the word of the language
    ttl: str = "",
    why: Why = "",
    target: Target = TARGET,
    dry_run: Flag = False,
) -> None:
    """Add the lines of a file to a list: one entry a line, # begins a remark.

    A bad line stops the load with its number; of the lines of one call (half a million) either all
    or none are applied.

    Parameters
    ----------
    name
        The list.
    file
        The file.
    type
        Of the entries, where no rule declares the list.
    ttl
        How long they count, such as 24h; nothing = until removed.
    dry_run
        Let the engine check the entries and change nothing.
    """
    numbers, values = _lines(file)
    first = {"change": "add", "type": type, "reason": why, "ttl_s": _ttl_s(ttl) if ttl else 0}
    answer: dict[str, Any] = {}
    for is_check in (True, False):  # everything is checked before anything is applied
        for at in range(0, len(values), _BATCH_LINES):
            part = values[at : at + _BATCH_LINES]
            body = {**first, "values": part, "dry_run": is_check}
            try:
                answer = call_engine(Call("POST", _list_path(name), body, _TIMEOUT_S), target)
            except UsageError as error:
                raise _at_line(error, file, numbers[at:]) from None
            verb = "checked" if is_check else "loaded"
            sys.stderr.write(f"de39: {verb} {at + len(part):,}\n")
        if dry_run:
            break
    print_answer(answer, as_json=target.json)


@run_command
def list_show(name: str = "", /, *, limit: Whole = 100, target: Target = TARGET) -> None:
    """Show the lists, or the entries of one.

    Parameters
    ----------
    name
        The list; nothing = all lists and how many entries they have.
    limit
        How many entries are shown.
    """
    path = f"{_list_path(name)}?limit={limit}" if name else "/v1/lists"
    answer = call_engine(Call("GET", path), target)
    if target.json:
        print_json(answer)
        return
    for row in answer.get("lists", []):
        in_file = "" if row["in_file"] is None else f", {row['in_file']} in the file"
        count = f"{row['entries']:,} entries{in_file}"
        sys.stdout.write(f"{row['list']:<24} {row['type']:<9} {count}\n")
    for value in answer.get("in_file", []):
        sys.stdout.write(f"{value}  in the file\n")
    for row in answer.get("values", []):
        until = "" if row["until_s"] is None else f"  until {row['until_s']}"
        sys.stdout.write(f"{row['value']}  added {row['added_s']}{until}\n")


def _set_mode(rule: str, mode: str, why: str, change: Change) -> None:
    path = f"/v1/rules/{quote(rule, safe='')}"
    write(Call("PATCH", path, {"mode": mode, "reason": why}), change)


def _post(path: str, body: dict[str, Any], target: Target) -> None:
    ask(Call("POST", path, body, _TIMEOUT_S), target)


def _list_path(name: str) -> str:
    return f"/v1/lists/{quote(name, safe='')}"


def _lines(file: Path) -> tuple[list[int], list[str]]:
    """Return the entries of a file and their lines, from 1."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: byte {error.start}: not UTF-8") from None
    entries = (line.partition("#")[0].strip() for line in text.split("\n"))
    found = [(number, entry) for number, entry in enumerate(entries, start=1) if entry]
    if not found:
        raise UsageError(f"{file}: holds no entries")
    return [number for number, _ in found], [entry for _, entry in found]


def _at_line(error: UsageError, file: Path, numbers: list[int]) -> UsageError:
    """Return what the engine said of a value with the line of the file that it stands on."""
    match = _VALUE.match(str(error))
    if match is None:
        return error
    return UsageError(f"{file}:{numbers[int(match[1]) - 1]}: {str(error)[match.end() :]}")


def _ttl_s(text: str) -> int:
    match = _TTL.fullmatch(text)
    if match is None:
        raise UsageError("--ttl: expected a time, such as 30m, 24h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]
