"""``de39 line`` and ``de39 config reload``: operators' commands about links, over the HTTP API."""

import sys
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from engine.client_commands import Call, ask, call_engine, write
from engine.command_options import (
    CHANGE,
    TARGET,
    NegatableChange,
    NegatableTarget,
    Target,
    Whole,
    print_json,
)
from engine.errors import UsageError, run_command

_SEND_TIMEOUT_S = 75.0


@run_command
def line_list(*, target: NegatableTarget = TARGET) -> None:
    """Show the lines that the engine opens itself, and whether they are up."""
    _show_rows(Call("GET", "/v1/lines"), "lines", target)


@run_command
def line_messages(
    *, state: str | None = None, limit: Whole = 50, target: NegatableTarget = TARGET
) -> None:
    """Show the messages that the engine must deliver on its lines, the newest first.

    Parameters
    ----------
    state : str
        Of one state: waiting, delivered, refused or given_up.
    limit : int
        At most so many.
    """
    query = f"?limit={limit}" + (f"&state={quote(state, safe='')}" if state else "")
    _show_rows(Call("GET", f"/v1/messages{query}"), "messages", target)


@run_command
def line_send(
    line: str,
    *,
    mti: str,
    field: Annotated[list[str] | None, Parameter(negative="")] = None,
    change: NegatableChange = CHANGE,
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
    """
    fields = dict(_pair(text) for text in field or [])
    call = Call(
        "POST",
        f"/v1/lines/{quote(line, safe='')}/messages",
        {"mti": mti, "fields": fields},
        _SEND_TIMEOUT_S,
    )
    write(call, change)


@run_command
def config_reload(*, target: NegatableTarget = TARGET) -> None:
    """Let a running engine read its configuration, dialects, rules, model and certificates anew."""
    ask(Call("POST", "/v1/reload", {}, _SEND_TIMEOUT_S), target)


def _pair(text: str) -> tuple[str, str]:
    number, equals, value = text.partition("=")
    if not equals or not number.isdigit():
        raise UsageError("--field: expected NUMBER=VALUE, such as 70=301")
    return number, value


def _show_rows(call: Call, name: str, target: Target) -> None:
    answer = call_engine(call, target)
    if target.json:
        print_json(answer)
        return
    rows: list[dict[str, Any]] = answer.get(name, [])
    for row in rows:
        sys.stdout.write("  ".join(str(value) for value in row.values()) + "\n")
    if not rows:
        sys.stdout.write(f"no {name}\n")
