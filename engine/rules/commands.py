"""``de39 rules ...``: what the command line does with rule files."""

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.rules.differences import differences
from engine.rules.errors import RuleError
from engine.rules.format import formatted
from engine.rules.language import parse_file, text_of

if TYPE_CHECKING:
    from engine.rules.program import Program

_EXIT_CONFIG = 78
_EXIT_PROBLEM = 1


def check(file: Path, *, json: bool = False) -> None:
    """Check a rule file: print its counts, version and warnings, or the first error.

    Parameters
    ----------
    file : Path
        The rule file.
    json : bool
        Print one JSON object instead of text.

    Raises
    ------
    SystemExit
        78 when the file cannot be taken; ``file:line:column: message`` is on stderr then.
    """
    from engine.rules.program import load_rules  # noqa: PLC0415 - fmt needs no compiler

    try:
        program = load_rules(file)
    except RuleError as error:
        if json:
            _print_json({"ok": False, "error": _error_fields(error)})
        sys.stderr.write(f"{error}\n")
        raise SystemExit(_EXIT_CONFIG) from error
    if json:
        _print_json(_summary(program))
        return
    _print_text(program, file)


def fmt(file: Path, *, check: bool = False, json: bool = False) -> None:
    """Write a rule file in its one form: spacing, names, line breaks; comments stay.

    Parameters
    ----------
    file : Path
        The rule file.
    check : bool
        Change nothing; exit 1 when the file is not in its one form.
    json : bool
        Print one JSON object instead of text.

    Raises
    ------
    SystemExit
        78 when the file is no rule file, 1 with --check when it would change.
    """
    try:
        before = text_of(file)
        after = formatted(before, file=str(file))
    except RuleError as error:
        if json:
            _print_json({"ok": False, "error": _error_fields(error)})
        sys.stderr.write(f"{error}\n")
        raise SystemExit(_EXIT_CONFIG) from error
    is_changed = before != after
    if is_changed and not check:
        file.write_text(after, encoding="utf-8")
    words = "unchanged" if not is_changed else "not in its form" if check else "written"
    if json:
        _print_json({"ok": True, "changed": is_changed})
    else:
        sys.stdout.write(f"{file}: {words}\n")
    if is_changed and check:
        raise SystemExit(_EXIT_PROBLEM)


def diff(old: Path, new: Path, *, json: bool = False) -> None:
    """Say what a rule file changes of another one: - went, + came, ~ another order.

    Parameters
    ----------
    old : Path
        The rule file to compare with.
    new : Path
        The rule file.
    json : bool
        Print one JSON object instead of text.

    Raises
    ------
    SystemExit
        78 when one is no rule file, 1 when they differ in meaning.
    """
    try:
        found = differences(parse_file(old), parse_file(new))
    except RuleError as error:
        if json:
            _print_json({"ok": False, "error": _error_fields(error)})
        sys.stderr.write(f"{error}\n")
        raise SystemExit(_EXIT_CONFIG) from error
    if json:
        _print_json({"ok": True, "changes": [line for one in found for line in one.lines()]})
    else:
        sys.stdout.write("".join(f"{line}\n" for one in found for line in one.lines()))
    if found:
        raise SystemExit(_EXIT_PROBLEM)


def _error_fields(error: RuleError) -> dict[str, Any]:
    place = {"file": error.file, "line": error.line, "column": error.column}
    return {**place, "message": error.message}


def _summary(program: "Program") -> dict[str, Any]:
    from engine.rules.advice import warnings_of  # noqa: PLC0415 - fmt needs no compiler

    remarks = [
        {"line": w.place.line, "column": w.place.column, "message": w.message}
        for w in warnings_of(program)
    ]
    return {
        "ok": True,
        "rules": program.rule_count,
        "lists": len(program.source.lists),
        "predicates": len(program.predicates),
        "terms": len(program.terms),
        "version": f"{program.version:08x}",
        "sha256": program.sha256,
        "warnings": remarks,
    }


def _print_text(program: "Program", file: Path) -> None:
    summary = _summary(program)
    for remark in summary["warnings"]:
        place = f"{file}:{remark['line']}:{remark['column']}"
        sys.stdout.write(f"{place}: warning: {remark['message']}\n")
    sys.stdout.write(
        f"{file}: ok, {summary['rules']} rules, {summary['lists']} lists, "
        f"{summary['predicates']} comparisons, {summary['terms']} alternatives, "
        f"version {summary['version']}\n"
    )


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json_format.dumps(value) + "\n")
