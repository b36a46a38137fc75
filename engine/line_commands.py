"""``de39 line`` and ``de39 config reload``: operators' commands about links, over the HTTP API."""

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from engine.client_commands import DATA_DEFAULT, HTTP_DEFAULT, Call, call_engine, show, write
from engine.errors import UsageError, run_command

_SEND_TIMEOUT_S = 75.0


@run_command
def line_list(*, http: str = HTTP_DEFAULT, data: Path = DATA_DEFAULT, json: bool = False) -> None:
    """Show the lines that the engine opens itself, and whether they are up.

    Parameters
    ----------
    http : str
        Address of the engine.
    data : Path
        Data folder that holds the admin token.
    json : bool
        Print one JSON object.
    """
    _rows(call_engine(Call("GET", "/v1/lines"), http, data), "lines", as_json=json)


@run_command
def line_messages(
    *,
    state: str | None = None,
    limit: int = 50,
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: bool = False,
) -> None:
    """Show the messages that the engine must deliver on its lines, the newest first.

    Parameters
    ----------
    state : str
        Of one state: waiting, delivered, refused or given_up.
    limit : int
        At most so many.
    http : str
        Address of the engine.
    data : Path
        Data folder that holds the admin token.
    json : bool
        Print one JSON object.
    """
    query = f"?limit={limit}" + (f"&state={quote(state, safe='')}" if state else "")
    _rows(call_engine(Call("GET", f"/v1/messages{query}"), http, data), "messages", as_json=json)


@run_command
def line_send(
    line: str,
    *,
    mti: str,
    field: Annotated[list[str] | None, Parameter(negative="")] = None,
    http: str = HTTP_DEFAULT,
    data: Path = DATA_DEFAULT,
    json: bool = False,
    dry_run: bool = False,
) -> None:
    """Send a message of one's own on a line, such as an administrative 0620.

    Parameters
    ----------
    line : str
        Name of the line.
    mti : str
        Message type: 0620, 0820 and the like are kept until they are answered; 0600 is asked once.
    field : list
        NUMBER=VALUE, once a field; binary ones in hex. DE7 and DE11 are written by the engine.
    http : str
        Address of the engine.
    data : Path
        Data folder that holds the admin token.
    json : bool
        Print one JSON object.
    dry_run : bool
        Print what would be sent and send nothing.
    """
    fields = dict(_pair(text) for text in field or [])
    call = Call(
        "POST",
        f"/v1/lines/{quote(line, safe='')}/messages",
        {"mti": mti, "fields": fields},
        _SEND_TIMEOUT_S,
    )
    write(call, http, data, as_json=json, is_dry=dry_run)


@run_command
def config_reload(
    *, http: str = HTTP_DEFAULT, data: Path = DATA_DEFAULT, json: bool = False
) -> None:
    """Let a running engine read its configuration, dialects, rules, model and certificates again.

    Parameters
    ----------
    http : str
        Address of the engine.
    data : Path
        Data folder that holds the admin token.
    json : bool
        Print one JSON object.
    """
    show(call_engine(Call("POST", "/v1/reload", {}, _SEND_TIMEOUT_S), http, data), json)


def _pair(text: str) -> tuple[str, str]:
    number, equals, value = text.partition("=")
    if not equals or not number.isdigit():
        raise UsageError("--field: expected NUMBER=VALUE, such as 70=301")
    return number, value


def _rows(answer: dict[str, Any], name: str, *, as_json: bool) -> None:
    if as_json:
        show(answer, as_json)
        return
    rows: list[dict[str, Any]] = answer.get(name, [])
    for row in rows:
        sys.stdout.write("  ".join(str(value) for value in row.values()) + "\n")
    if not rows:
        sys.stdout.write(f"no {name}\n")
