"""``de39 model`` and ``de39 labels``: models and labels of a running engine, over HTTP."""

import base64
import csv
import json as json_format
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engine.client_commands import DATA_DEFAULT, HTTP_DEFAULT, Call, call_engine
from engine.errors import ProblemFoundError, run_command
from scoring.registry import load_model

Flag = Annotated[bool, Parameter(negative="")]
_LABEL_NAMES = ("fraud", "genuine")


@run_command
def show(*, http: str = HTTP_DEFAULT, data: Path = DATA_DEFAULT, json: Flag = False) -> None:
    """Show the model in force, challengers in shadow and models kept. Reads the running engine.

    Parameters
    ----------
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    """
    _print(call_engine(Call("GET", "/v1/models"), http, data), as_json=json)


@run_command
def promote(
    model: str,
    /,
    *,
    reason: str = "",
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Let a model decide from the next batch on. Nothing stops and no answer is lost.

    Parameters
    ----------
    model
        A model file, or the version (8 hex digits) of a model that the engine keeps.
    reason
        Goes into the record of the change.
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    dry_run
        Let the engine check the model and change nothing.
    """
    _put("promote", model, reason, http, data, as_json=json, is_dry=dry_run)


@run_command
def challenge(
    model: str,
    /,
    *,
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Score every payment with another model in shadow. It decides nothing.

    Parameters
    ----------
    model
        A model file, or the version (8 hex digits) of a model that the engine keeps.
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    dry_run
        Let the engine check the model and change nothing.
    """
    _put("challenge", model, "", http, data, as_json=json, is_dry=dry_run)


@run_command
def withdraw(
    version: str,
    /,
    *,
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Take a challenger away. The model in force stays.

    Parameters
    ----------
    version
        Its version, 8 hex digits or more.
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    dry_run
        Say what would be sent and send nothing.
    """
    _send("/v1/models/withdraw", {"version": version}, http, data, as_json=json, is_dry=dry_run)


@run_command
def rollback(
    *,
    reason: str = "",
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Let the model before the last promotion decide again. Nothing stops.

    Parameters
    ----------
    reason
        Goes into the record of the change.
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    dry_run
        Say what would be sent and send nothing.
    """
    _send("/v1/models/rollback", {"reason": reason}, http, data, as_json=json, is_dry=dry_run)


@run_command
def labels(
    file: Path,
    /,
    *,
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Tell the engine what payments turned out to be. All lines are taken or none.

    The file is CSV with the header record,label: the number of the payment's ledger record, and
    fraud or genuine. A fraud counts against its merchant from now on.

    Parameters
    ----------
    file
        The CSV file.
    http
        Address of the engine.
    data
        Data folder that holds the admin token.
    json
        Print one JSON object.
    dry_run
        Let the engine check every line and change nothing.
    """
    body = {"labels": read_labels(file), "dry_run": dry_run}
    _print(call_engine(Call("POST", "/v1/labels", body, 630.0), http, data), as_json=json)


def read_labels(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a label file; ProblemFoundError names file, line and key."""
    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemFoundError(f"{file}: cannot be read ({error})") from None
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


def _put(
    verb: str, model: str, reason: str, http: str, data: Path, *, as_json: bool, is_dry: bool
) -> None:
    body: dict[str, Any] = {"reason": reason, "dry_run": is_dry}
    if Path(model).is_file():
        load_model(Path(model))  # what is wrong with it is said here, with its name
        body["model"] = base64.b64encode(Path(model).read_bytes()).decode()
    else:
        body["version"] = model
    _print(call_engine(Call("POST", f"/v1/models/{verb}", body, 60.0), http, data), as_json=as_json)


def _send(
    path: str, body: dict[str, Any], http: str, data: Path, *, as_json: bool, is_dry: bool
) -> None:
    if is_dry:
        _print({"dry_run": True, "method": "POST", "path": path, "body": body}, as_json=as_json)
        return
    _print(call_engine(Call("POST", path, body), http, data), as_json=as_json)


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_format.dumps(answer) + "\n")
        return
    for name, value in answer.items():
        sys.stdout.write(f"{name:<16} {value}\n")
