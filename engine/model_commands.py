"""``de39 model`` and ``de39 labels``: models and labels of a running engine, over HTTP."""

import base64
import csv
from pathlib import Path
from typing import Any

from engine.client_commands import Call, ask, naming_file, write
from engine.command_options import CHANGE, TARGET, Change, Flag, Target
from engine.errors import ProblemFoundError, run_command
from scoring.registry import load_model

_LABEL_NAMES = ("fraud", "genuine")


@run_command
def show(*, target: Target = TARGET) -> None:
    """Show the model in force, challengers in shadow and models kept. Reads the running engine."""
    ask(Call("GET", "/v1/models"), target)


@run_command
def promote(
    model: str,
    /,
    *,
    reason: str = "",
    target: Target = TARGET,
    dry_run: Flag = False,
) -> None:
    """Let a model decide from the next batch on. Nothing stops and no answer is lost.

    Parameters
    ----------
    model
        A model file, or the version (8 hex digits) of a model that the engine keeps.
    reason
        Goes into the record of the change.
    dry_run
        Let the engine check the model and change nothing.
    """
    _put("promote", model, reason, target, is_dry=dry_run)


@run_command
def challenge(model: str, /, *, target: Target = TARGET, dry_run: Flag = False) -> None:
    """Score every payment with another model in shadow. It decides nothing.

    Parameters
    ----------
    model
        A model file, or the version (8 hex digits) of a model that the engine keeps.
    dry_run
        Let the engine check the model and change nothing.
    """
    _put("challenge", model, "", target, is_dry=dry_run)


@run_command
def withdraw(version: str, /, *, change: Change = CHANGE) -> None:
    """Take a challenger away. The model in force stays.

    Parameters
    ----------
    version
        Its version, 8 hex digits or more.
    """
    write(Call("POST", "/v1/models/withdraw", {"version": version}), change)


@run_command
def rollback(*, reason: str = "", change: Change = CHANGE) -> None:
    """Let the model before the last promotion decide again. Nothing stops.

    Parameters
    ----------
    reason
        Goes into the record of the change.
    """
    write(Call("POST", "/v1/models/rollback", {"reason": reason}), change)


@run_command
def labels(file: Path, /, *, target: Target = TARGET, dry_run: Flag = False) -> None:
    """Tell the engine what payments turned out to be. All lines are taken or none.

    The file is CSV with the header record,label: the number of the payment's ledger record, and
    fraud or genuine. A fraud counts against its merchant from now on.

    Parameters
    ----------
    file
        The CSV file.
    dry_run
        Let the engine check every line and change nothing.
    """
    body = {"labels": read_labels(file), "dry_run": dry_run}
    with naming_file(r"labels\[([0-9]+)\]", lambda found: f"{file}: line {int(found[1]) + 2}"):
        ask(Call("POST", "/v1/labels", body, 630.0), target)


def read_labels(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a label file; ProblemFoundError names file, line and key.

    Raises OSError where the file cannot be read.
    """
    raw = file.read_bytes()
    try:
        lines = list(csv.reader(raw.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError as error:
        place = raw[: error.start].count(b"\n") + 1
        raise ProblemFoundError(f"{file}: line {place}: not UTF-8; expected CSV as text") from None
    if not lines or lines[0] != ["record", "label"]:
        raise ProblemFoundError(f"{file}: line 1: expected the header record,label")
    found = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != 2:
            raise ProblemFoundError(f"{file}: line {number}: expected two values, record and label")
        if not (line[0].isascii() and line[0].isdigit()) or not 0 < int(line[0]) < 1 << 63:
            raise ProblemFoundError(f"{file}: line {number}: record: expected a number from 1")
        if line[1] not in _LABEL_NAMES:
            raise ProblemFoundError(f"{file}: line {number}: label: expected fraud or genuine")
        found.append({"record": int(line[0]), "label": line[1]})
    if not found:
        raise ProblemFoundError(f"{file}: holds no labels")
    return found


def _put(verb: str, model: str, reason: str, target: Target, *, is_dry: bool) -> None:
    body: dict[str, Any] = {"reason": reason, "dry_run": is_dry}
    if Path(model).is_file():
        load_model(Path(model))  # what is wrong with it is said here, with its name
        body["model"] = base64.b64encode(Path(model).read_bytes()).decode()
    else:
        body["version"] = model
    ask(Call("POST", f"/v1/models/{verb}", body, 60.0), target)
