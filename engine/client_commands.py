"""``de39 account`` and ``de39 card``: operators' commands through the HTTP API of a running engine.

Only the standard library and small modules are imported, so that a command starts at once. The
token comes from ``DE39_ADMIN_TOKEN``, else from ``admin.token`` in the data folder.
"""

import getpass
import http.client
import json as json_format
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from engine.admin.token import TOKEN_FILE, TOKEN_VARIABLE, find_token
from engine.command_options import (
    CHANGE,
    HTTP_DEFAULT,
    TARGET,
    Change,
    NegatableChange,
    NegatableTarget,
    Target,
    Whole,
    print_answer,
    print_json,
)
from engine.errors import (
    OperatingError,
    PermissionRefused,
    ProblemFoundError,
    UnavailableError,
    UsageError,
    run_command,
)
from ledger.pan import Pan

_TIMEOUT_S = 15.0
_IMPORT_TIMEOUT_S = 630.0  # a little longer than the engine gives itself
_ANSWER_BYTES_MAX = 4 * 1024 * 1024


class Call(NamedTuple):
    """One call of the API; the body is a JSON object, or a file as it is, or None on a read."""

    method: str
    path: str
    body: Mapping[str, Any] | bytes | None = None
    timeout_s: float = _TIMEOUT_S


@run_command
def account_open(
    account: str,
    *,
    customer: str,
    limit_minor: Whole,
    product: str = "standard",
    currency: str = "840",
    change: NegatableChange = CHANGE,
) -> None:
    """Open an account.

    Parameters
    ----------
    account : str
        Its reference, 1 to 64 printable characters.
    customer : str
        Reference of the customer.
    limit_minor : int
        Credit limit in minor units (cents).
    product : str
        Product of the account.
    currency : str
        ISO 4217 number.
    """
    body = {
        "account": account,
        "customer": customer,
        "product": product,
        "currency": currency,
        "limit_minor": limit_minor,
    }
    write(Call("POST", "/v1/accounts", body), change)


@run_command
def account_show(account: str, *, target: NegatableTarget = TARGET) -> None:
    """Show an account: its limit, what is held and used, and its cards.

    Parameters
    ----------
    account : str
        Its reference.
    """
    answer = call_engine(Call("GET", f"/v1/accounts/{quote(account, safe='')}"), target)
    if target.json:
        print_json(answer)
        return
    cards = answer.pop("cards")
    print_answer(answer, as_json=False)
    sys.stdout.write(f"cards: {len(cards) or 'none'}\n")
    for card in cards:
        notice = ", travel notice" if card.get("travel_notice") else ""
        zone = f", {card['zone']}" if card.get("zone") else ""
        sys.stdout.write(
            f"  {card['card']:>6}  {card['pan']}  {card['expiry_yymm']}  {card['status']}"
            f"{notice}{zone}\n"
        )


@run_command
def account_set(
    account: str,
    *,
    limit_minor: Whole | None = None,
    status: str | None = None,
    change: NegatableChange = CHANGE,
) -> None:
    """Change the limit or the status of an account.

    Parameters
    ----------
    account : str
        Its reference.
    limit_minor : int | None
        New credit limit in minor units.
    status : str | None
        active, blocked or closed.
    """
    body = _given(limit_minor=limit_minor, status=status)
    if not body:
        raise UsageError("nothing to change: give --limit-minor or --status")
    call = Call("PATCH", f"/v1/accounts/{quote(account, safe='')}", body)
    write(call, change)


@run_command
def card_issue(
    account: str,
    *,
    pan: str | None = None,
    pan_stdin: bool = False,
    expiry_yymm: str | None = None,
    zone: str | None = None,
    change: NegatableChange = CHANGE,
) -> None:
    """Issue a card on an account.

    A dry run shows its number masked.

    Parameters
    ----------
    account : str
        Reference of the account.
    pan : str | None
        Card number, which the list of processes shows; without it one is made.
    pan_stdin : bool
        Read the card number from standard input instead.
    expiry_yymm : str | None
        Year and month, such as 3012.
    zone : str | None
        IANA time zone of the card, such as Europe/Berlin; without it that of the rule set.
    """
    if pan_stdin:
        pan = sys.stdin.readline().strip()
    if pan is not None and not Pan(pan).is_luhn_ok:
        option = "--pan-stdin" if pan_stdin else "--pan"
        raise UsageError(f"{option}: must be 12 to 19 digits that end in their check digit")
    body = {"account": account, **_given(pan=pan, expiry_yymm=expiry_yymm, zone=zone)}
    write(Call("POST", "/v1/cards", body), change)


@run_command
def card_set(
    card: Whole,
    *,
    status: str | None = None,
    travel_notice: bool | None = None,
    zone: str | None = None,
    change: NegatableChange = CHANGE,
) -> None:
    """Change the status or the controls of a card.

    Parameters
    ----------
    card : int
        Internal number of the card, as "account show" prints it.
    status : str | None
        active, blocked, lost or stolen.
    travel_notice : bool | None
        The holder has said that he travels.
    zone : str | None
        IANA time zone of the card, such as Europe/Berlin; "" = that of the rule set.
    """
    if not 1 <= card < 1 << 32:
        raise UsageError("CARD: the internal number of a card, as 'account show' prints it")
    body = _given(status=status, travel_notice=travel_notice, zone=zone)
    if not body:
        raise UsageError("nothing to change: give --status, --travel-notice or --zone")
    write(Call("PATCH", f"/v1/cards/{card}", body), change)


@run_command
def ledger_snapshot(*, change: NegatableChange = CHANGE) -> None:
    """Let a running engine write a snapshot now; traffic goes on."""
    write(Call("POST", "/v1/ledger/snapshot", {}), change)


def import_over_http(file: Path, *, http: str, data: Path) -> dict[str, Any]:
    """Send an import file to a running engine; return its counts of rows, accounts and cards.

    Raises
    ------
    OperatingError
        Of the kind whose exit code fits; a bad row is a ProblemFoundError that names file, line
        and field, as is an account or card that stands already.
    OSError
        When the file cannot be read.
    """
    call = Call("POST", "/v1/import", file.read_bytes(), _IMPORT_TIMEOUT_S)
    with naming_file(r"^(line [0-9]+|account |card )", lambda found: f"{file}: {found[0]}"):
        return call_engine(call, Target(http=http, data=data))


@contextmanager
def naming_file(
    pattern: str,
    text: Callable[[re.Match[str]], str],
    kind: type[OperatingError] = ProblemFoundError,
) -> Iterator[None]:
    """Let what the engine refuses of a file name the file: the engine knows its bytes only.

    Where ``pattern`` is found in a refusal, ``text`` takes its place, and the refusal is raised as
    ``kind``, what it is where such a file is looked at without an engine.
    """
    try:
        yield
    except (UsageError, ProblemFoundError) as problem:
        told, count = re.subn(pattern, text, str(problem), count=1)
        raise (kind if count else type(problem))(told) from None


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def write(call: Call, change: Change) -> None:
    """Make a call that changes something and print the answer, or print what would be sent."""
    if not change.dry_run:
        ask(call, change)
        return
    body = dict(call.body) if isinstance(call.body, Mapping) else {}
    if "pan" in body:
        body["pan"] = str(Pan(body["pan"]))
    if change.json:
        print_json({"dry_run": True, "method": call.method, "path": call.path, "body": body})
        return
    sys.stdout.write(f"would send {call.method} {change.http}{call.path}\n")
    print_answer(body, as_json=False)


def ask(call: Call, target: Target) -> None:
    """Make the call and print what the engine answers."""
    print_answer(call_engine(call, target), as_json=target.json)


def call_engine(call: Call, target: Target) -> dict[str, Any]:
    """Make the call; any answer but a good one is an error with its exit code."""
    status, answer = _exchange(call, target.http, _token(target.data))
    if 200 <= status < 300:
        return answer
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or f"the engine answered {status}")
    if status in {401, 403}:
        hint = f"see {TOKEN_VARIABLE} and {target.data / TOKEN_FILE}"
        raise PermissionRefused(f"{message} ({hint})")
    if status in {404, 409}:
        raise ProblemFoundError(message)
    if status in {400, 405, 408, 413}:
        raise UsageError(message)
    raise UnavailableError(message)


def _token(data: Path) -> str:
    token = find_token(data, os.environ)
    if token is None:
        where = data / TOKEN_FILE
        raise PermissionRefused(
            f"no admin token: set {TOKEN_VARIABLE}, or name the engine's data folder with --data "
            f"({where} is not there)"
        )
    return token


def _exchange(call: Call, url: str, token: str) -> tuple[int, dict[str, Any]]:
    link = _link(url, call.timeout_s)
    headers = {"Authorization": f"Bearer {token}", "X-Operator": _operator()}
    body = call.body
    if isinstance(body, Mapping):
        body = json_format.dumps(body).encode()
    try:
        link.request(call.method, call.path, body=body, headers=headers)
        response = link.getresponse()
        raw = response.read(_ANSWER_BYTES_MAX)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnavailableError(f"{url}: the engine cannot be reached: {reason}") from error
    except http.client.HTTPException as error:
        raise UnavailableError(f"{url}: what answers there does not speak HTTP") from error
    finally:
        link.close()
    try:
        answer = json_format.loads(raw)
    except ValueError as error:
        raise UnavailableError(f"{url}: what answers there is no de39 engine") from error
    return response.status, answer if isinstance(answer, dict) else {}


def _link(url: str, timeout_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    is_plain = parts.path in {"", "/"} and not parts.query and not parts.username
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1 or not is_plain:
        raise UsageError(f"--http: must be an address such as {HTTP_DEFAULT}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=timeout_s)


def _operator() -> str:
    """Return the name that goes into the record: of the person logged in, else admin."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "admin"
    kept = "".join(c for c in name if c.isascii() and (c.isalnum() or c in "._-"))
    return kept.lstrip("._-")[:64] or "admin"
