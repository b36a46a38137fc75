"""The operators' HTTP server, over real sockets."""

import contextlib
import socket
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from engine.admin import api
from engine.admin import operations as o
from engine.admin.http import CONNECTIONS_MAX, AdminServer, address_from_text
from engine.errors import ConfigError, UnavailableError
from engine.metrics import BuildInfo, Metrics
from tests.engine.admin.conftest import TOKEN, Desk
from tests.engine.admin.memory import AUTHORIZATION, MemoryOperations

PAN = "4111111111111111"
ACCOUNT = {"account": "A1", "customer": "C1", "limit_minor": 100_000}


def test_an_account_is_opened_shown_and_changed(desk: Desk) -> None:
    """The calls of an account's life answer with its state, and name who did it."""
    opened = desk.call("POST", "/v1/accounts", ACCOUNT, X_Operator="ada@ops")
    assert (opened.status, opened.json["currency"], opened.json["product"]) == (
        201,
        "840",
        "standard",
    )
    changed = desk.call("PATCH", "/v1/accounts/A1", {"limit_minor": 5, "status": "blocked"})
    assert (changed.status, changed.json["limit_minor"], changed.json["status"]) == (
        200,
        5,
        "blocked",
    )
    shown = desk.call("GET", "/v1/accounts/A1")
    assert (shown.status, shown.json) == (200, changed.json)
    assert desk.engine.changes == [("ada@ops", "open A1"), ("admin", "patch A1")]


def test_a_card_is_shown_masked_whether_given_or_made(desk: Desk) -> None:
    """Answers hold the first six and last four digits, never the number."""
    desk.call("POST", "/v1/accounts", ACCOUNT)
    given = desk.call("POST", "/v1/cards", {"account": "A1", "pan": PAN, "expiry_yymm": "3012"})
    made = desk.call("POST", "/v1/cards", {"account": "A1"})
    assert (given.status, given.json["pan"]) == (201, "411111******1111")
    assert (made.status, made.json["pan"][:7]) == (201, "411111*")
    patched = desk.call("PATCH", "/v1/cards/1", {"status": "stolen", "travel_notice": True})
    assert (patched.json["status"], patched.json["travel_notice"]) == ("stolen", True)
    zone = desk.call("PATCH", "/v1/cards/1", {"zone": "Europe/Berlin"})
    assert (made.json["zone"], zone.json["zone"]) == ("", "Europe/Berlin")
    odd = desk.call("POST", "/v1/cards", {"account": "A1", "zone": "Europe/Berlim"})
    assert (odd.status, odd.error["field"]) == (400, "zone")
    assert "did you mean Europe/Berlin?" in odd.error["message"]
    again = desk.call("POST", "/v1/cards", {"account": "A1", "pan": PAN})
    assert (again.status, again.error["code"]) == (409, "conflict")
    assert PAN.encode() not in again.body + given.body


def test_authorizations_are_found_by_rrn_and_account(desk: Desk) -> None:
    """What was decided and why comes back whole."""
    desk.engine.history.append(AUTHORIZATION)
    found = desk.call("GET", "/v1/authorizations?rrn=632810000042&account=A1")
    assert found.status == 200
    (view,) = found.json["authorizations"]
    assert (view["record"], view["rules"][0]["rule"], view["score"]) == (151204, "R7", 0.9731)
    none = desk.call("GET", "/v1/authorizations?rrn=1")
    assert (none.status, none.json) == (200, {"authorizations": []})


def test_an_import_goes_through_whole(desk: Desk) -> None:
    """A CSV body is handed over with the operator's name."""
    done = desk.call("POST", "/v1/import", b"header\nA1,C1,s,840,1,,3012,active\n")
    assert (done.status, done.json) == (200, {"rows": 1, "accounts": 1, "cards": 1})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "field"),
    [
        ("POST", "/v1/accounts", b"", 400, "invalid", ""),
        ("POST", "/v1/accounts", b"[1]", 400, "invalid", ""),
        ("POST", "/v1/accounts", b'{"a', 400, "invalid", ""),
        ("POST", "/v1/accounts", b"[" * 100_000, 400, "invalid", ""),
        ("POST", "/v1/accounts", b"\xff\xfe", 400, "invalid", ""),
        ("POST", "/v1/accounts", {"customer": "C1", "limit_minor": 1}, 400, "invalid", "account"),
        ("POST", "/v1/accounts", {**ACCOUNT, "limit": 1}, 400, "invalid", "limit"),
        ("POST", "/v1/accounts", {**ACCOUNT, "limit_minor": -1}, 400, "invalid", "limit_minor"),
        ("POST", "/v1/accounts", {**ACCOUNT, "limit_minor": 1.5}, 400, "invalid", "limit_minor"),
        ("POST", "/v1/accounts", {**ACCOUNT, "limit_minor": 10**16}, 400, "invalid", "limit_minor"),
        ("POST", "/v1/accounts", {**ACCOUNT, "currency": "USD"}, 400, "invalid", "currency"),
        ("POST", "/v1/accounts", {**ACCOUNT, "account": " A1"}, 400, "invalid", "account"),
        ("POST", "/v1/accounts", {**ACCOUNT, "account": "A1\n"}, 400, "invalid", "account"),
        ("POST", "/v1/accounts", {**ACCOUNT, "account": 1}, 400, "invalid", "account"),
        ("POST", "/v1/accounts", {**ACCOUNT, "account": "A" * 65}, 400, "invalid", "account"),
        ("POST", "/v1/accounts", {**ACCOUNT, "currency": "000"}, 400, "invalid", "currency"),
        ("POST", "/v1/accounts", {**ACCOUNT, "customer": PAN}, 400, "invalid", "customer"),
        ("POST", "/v1/accounts", {**ACCOUNT, PAN: 1}, 400, "invalid", "[hidden]"),
        ("POST", "/v1/cards", {"account": "A1", "pan": "4111111111111112"}, 400, "invalid", "pan"),
        ("POST", "/v1/cards", {"account": "A1", "pan": int(PAN)}, 400, "invalid", "pan"),
        (
            "POST",
            "/v1/cards",
            {"account": "A1", "expiry_yymm": "3013"},
            400,
            "invalid",
            "expiry_yymm",
        ),
        ("POST", "/v1/cards", {"account": "B9"}, 404, "not_found", ""),
        ("PATCH", "/v1/accounts/A1", {"status": PAN}, 400, "invalid", "status"),
        ("PATCH", "/v1/accounts/A1", {}, 400, "invalid", ""),
        ("PATCH", f"/v1/accounts/{PAN}", {"status": "active"}, 400, "invalid", "account"),
        ("PATCH", f"/v1/cards/{PAN}", {"status": "active"}, 404, "not_found", ""),
        ("PATCH", "/v1/cards/7", {"status": "active"}, 404, "not_found", ""),
        ("PATCH", "/v1/cards/7", {"status": "closed"}, 400, "invalid", "status"),
        ("PATCH", "/v1/cards/7", {}, 400, "invalid", ""),
        ("GET", "/v1/accounts/B9", None, 404, "not_found", ""),
        ("GET", "/v1/accounts/%0a", None, 400, "invalid", "account"),
        ("GET", "/v1/authorizations", None, 400, "invalid", "rrn"),
        ("GET", "/v1/authorizations?rrn=1234567890123", None, 400, "invalid", "rrn"),
        ("GET", "/v1/authorizations?rrn=1&limit=0", None, 400, "invalid", "limit"),
        ("GET", "/v1/authorizations?rrn=1&limit=1001", None, 400, "invalid", "limit"),
        ("GET", f"/v1/authorizations?pan={PAN}", None, 400, "invalid", ""),
        ("POST", "/v1/import", f"header\n{PAN},C1\n".encode(), 400, "invalid", ""),
        ("GET", f"/v1/{PAN}", None, 404, "not_found", ""),
        ("GET", f"/{PAN}", None, 404, "not_found", ""),
        ("DELETE", "/v1/accounts/A1", None, 405, "method_not_allowed", ""),
        ("POST", "/metrics", b"", 405, "method_not_allowed", ""),
    ],
)
def test_bad_requests_get_an_error_that_names_the_field(
    desk: Desk, method: str, path: str, body: Any, status: int, code: str, field: str
) -> None:
    """Every refusal is JSON of one shape; neither it nor an event repeats a card number."""
    answer = desk.call(method, path, body)
    assert (answer.status, answer.error["code"], answer.error["field"]) == (status, code, field)
    assert set(answer.error) == {"code", "message", "field"}
    assert answer.error["message"]
    assert PAN not in answer.body.decode() + repr(desk.events)
    assert not desk.engine.changes


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "\xff" * 20])
def test_v1_is_closed_without_the_token(desk: Desk, token: str | None) -> None:
    """No token, or another one: 401, and the engine hears nothing, known path or not."""
    for path in ("/v1/accounts", "/v1/nothing", "/v1"):
        answer = desk.call("POST", path, ACCOUNT, token)
        assert (answer.status, answer.error["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not desk.engine.changes
    assert TOKEN not in repr(desk.events)


def test_an_operators_name_is_checked(desk: Desk) -> None:
    """A name that cannot go into a record is refused before anything is done."""
    for name in (PAN, "a b", "", "x" * 65):
        answer = desk.call("POST", "/v1/accounts", ACCOUNT, X_Operator=name)
        assert (answer.status, answer.error["field"]) == (400, "X-Operator")
        assert PAN not in answer.body.decode()
    assert not desk.engine.changes


def test_a_body_past_its_bound_is_refused(desk: Desk) -> None:
    """413 whether the length is announced or not."""
    announced = desk.call("POST", "/v1/accounts", b" " * (api.HTTP_BODY_BYTES_MAX + 1))
    assert (announced.status, announced.error["code"]) == (413, "too_large")
    with socket.create_connection((desk.host, desk.port), timeout=10) as link:
        link.sendall(
            f"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(api.HTTP_BODY_BYTES_MAX // 0x10000 + 1):
            link.sendall(chunk)
        assert link.recv(100).startswith(b"HTTP/1.1 413 ")
    packed = desk.call("POST", "/v1/accounts", ACCOUNT, Content_Encoding="gzip")
    assert (packed.status, packed.error["field"]) == (400, "Content-Encoding")


def test_bytes_that_are_not_http_are_answered_in_json(
    desk: Desk, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A broken request line is not quoted back, nor logged."""
    with socket.create_connection((desk.host, desk.port), timeout=10) as link:
        link.sendall(f"{PAN} {PAN}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(4096), b""))
    assert answer.split()[1] == b"400"
    assert b"aiohttp" not in answer
    assert b'"code":"bad_request"' in answer
    assert PAN.encode() not in answer
    assert PAN not in caplog.text + "".join(capfd.readouterr()) + repr(desk.events)


def test_a_fault_of_the_engine_shows_nothing_of_itself(desk: Desk) -> None:
    """500 without a stack; the event names the kind of error and the route."""
    desk.engine.failure = RuntimeError(f"stack and {PAN}")
    answer = desk.call("GET", "/v1/accounts/A1")
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert b"Runtime" not in answer.body
    assert PAN not in answer.body.decode() + repr(desk.events)
    expected = {"method": "GET", "path": "/v1/accounts/{account}", "reason": "RuntimeError"}
    assert ("http.failed", expected) in desk.events


def test_an_engine_that_is_not_there_is_503(desk: Desk) -> None:
    """Unavailable and forbidden pass on as 503 and 403."""
    desk.engine.failure = o.Unavailable("draining")
    answer = desk.call("GET", "/v1/accounts/A1")
    assert (answer.status, answer.error["message"]) == (503, "draining")
    desk.engine.failure = o.Forbidden("not yours")
    assert desk.call("GET", "/v1/accounts/A1").status == 403


def test_a_call_that_gets_no_answer_is_given_up_but_not_cancelled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time the caller hears that the outcome is open; the engine's future stays whole."""
    never: Future[o.AccountView] = Future()
    monkeypatch.setattr(api._settled, "__defaults__", None)
    monkeypatch.setattr(desk.engine, "account", lambda _account: never)
    monkeypatch.setattr(api._Api._call, "__defaults__", (0.05,))
    answer = desk.call("GET", "/v1/accounts/A1")
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    never.set_exception(o.NotFound("too late"))
    assert desk.call("GET", "/version").status == 200


def test_calls_under_way_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound a call is answered 503 at once; then the waiting ones get their answer."""
    held: Future[o.AccountView] = Future()
    entered = threading.Semaphore(0)

    def wait_for_it(_account: str) -> Future[o.AccountView]:
        entered.release()
        return held

    monkeypatch.setattr(api, "CALLS_MAX", 2)
    monkeypatch.setattr(desk.engine, "account", wait_for_it)
    statuses: list[int] = []
    waiting = [
        threading.Thread(target=lambda: statuses.append(desk.call("GET", "/v1/accounts/A").status))
        for _ in range(2)
    ]
    for thread in waiting:
        thread.start()
        entered.acquire()
    assert desk.call("GET", "/v1/accounts/A").status == 503
    held.set_exception(o.NotFound("no account A"))
    for thread in waiting:
        thread.join()
    assert statuses == [404, 404]


def test_health_follows_the_beat_of_the_loop(desk: Desk) -> None:
    """200 while the loop turned within two seconds, else 503."""
    assert desk.call("GET", "/healthz", token=None).status == 200
    desk.metrics.beat(time.monotonic_ns() - 3_000_000_000)
    assert desk.call("GET", "/healthz", token=None).json == {"alive": False}
    assert desk.call("GET", "/healthz", token=None).status == 503


@pytest.mark.behaviour(62)
def test_ready_lists_each_check(desk: Desk) -> None:
    """200 when all hold; 503 names the one that does not."""
    ready = desk.call("GET", "/readyz", token=None)
    assert (ready.status, ready.json["ready"], ready.json["checks"]["ledger"]) == (200, True, True)
    desk.engine.checks["ledger"] = False
    refused = desk.call("GET", "/readyz", token=None)
    assert (refused.status, refused.json["ready"], refused.json["checks"]["ledger"]) == (
        503,
        False,
        False,
    )


def test_version_names_what_decides(desk: Desk) -> None:
    """Program, Python, rule set and model."""
    answer = desk.call("GET", "/version", token=None)
    assert answer.json == {
        "version": "0.1.0",
        "python": "3.11.7",
        "ruleset_sha256": "ab" * 32,
        "model_sha256": "cd" * 32,
    }


@pytest.mark.behaviour(62)
def test_metrics_come_in_the_format_asked_for(desk: Desk) -> None:
    """Plain text by default, OpenMetrics by Accept."""
    plain = desk.call("GET", "/metrics", token=None)
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert b"de39_build_info{" in plain.body
    opened = desk.call(
        "GET", "/metrics", token=None, Accept="application/openmetrics-text; version=1.0.0"
    )
    assert opened.headers["Content-Type"].startswith("application/openmetrics-text")
    assert opened.body.endswith(b"# EOF\n")


def test_connections_are_bounded(desk: Desk) -> None:
    """Connections past the bound are closed at once and the others go on."""
    with contextlib.ExitStack() as links:
        for _ in range(CONNECTIONS_MAX):
            link = socket.create_connection((desk.host, desk.port), timeout=10)
            links.enter_context(link)
        last = socket.create_connection((desk.host, desk.port), timeout=10)
        links.enter_context(last)
        assert _is_closed(last)
        link.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert link.recv(12) == b"HTTP/1.1 200"


def _is_closed(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_port_in_use_is_one_clear_line(desk: Desk) -> None:
    """A second server on the same port says so and does not hang."""
    metrics = Metrics(BuildInfo("0", "3"))
    server = AdminServer(f"127.0.0.1:{desk.port}", TOKEN, metrics, MemoryOperations())
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{desk.port}: .*in use"):
        server.start()
    server.stop()


@pytest.mark.parametrize(
    "text", ["", "8580", "127.0.0.1:", ":8580", "host:http", "h:70000", "h:-1"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    """The error shows what an address looks like."""
    with pytest.raises(ConfigError, match=r"HOST:PORT"):
        address_from_text(text)


def test_an_address_may_be_of_either_family() -> None:
    """Brackets of an IPv6 address are taken off."""
    assert address_from_text("[::1]:0") == ("::1", 0)
    assert address_from_text("localhost:8580") == ("localhost", 8580)


def test_a_view_cannot_hold_a_card_number() -> None:
    """The type itself refuses what is not masked."""
    for pan in (PAN, "4111111*****1111", "41111111", ""):
        with pytest.raises(ValueError, match="masked"):
            o.CardView(1, "A1", pan, "3012", "active", travel_notice=False)
