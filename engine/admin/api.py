"""The HTTP routes: metrics, health and /v1, as one aiohttp application.

Everything answers JSON except ``/metrics``. A fault of the engine is a bare 500 here and an event
for the log: no stack trace, no path and no body leaves this file.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from engine.admin import operations as o
from engine.admin.bodies import (
    decode,
    decode_items,
    error_response,
    json_response,
    operator_name,
    reference,
)
from engine.admin.collector import make_registry
from engine.admin.link_api import LinkApi
from engine.admin.link_operations import LinkOperations
from engine.admin.models_api import ModelDesk, model_routes
from engine.admin.rules_api import Answer, RuleDesk, rule_routes
from engine.admin.token import is_same_token
from engine.limits import HTTP_BODY_BYTES_MAX
from engine.metrics import Metrics

T = TypeVar("T")
B = TypeVar("B", bound=msgspec.Struct)
EventSink: TypeAlias = Callable[[str, Mapping[str, object]], None]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

IMPORT_BYTES_MAX = 128 * 1024 * 1024  # 1.5 million cards
BODY_TIMEOUT_S = 10.0
IMPORT_BODY_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 10.0
IMPORT_TIMEOUT_S = 600.0
CLEARING_BODY_BYTES_MAX = 4 * 1024 * 1024  # 5,000 items with every field
CLEARING_TIMEOUT_S = 60.0
CALLS_MAX = 64  # calls under way at once; more are answered 503
ALIVE_NS = 2_000_000_000  # the loop must have turned this recently
_STATUS: tuple[tuple[type[o.AdminError], int, str], ...] = (
    (o.Invalid, 400, "invalid"),
    (o.Forbidden, 403, "forbidden"),
    (o.NotFound, 404, "not_found"),
    (o.Conflict, 409, "conflict"),
    (o.Unavailable, 503, "unavailable"),
)
_CODES = {404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "too_large"}
_TEXTS = {
    404: "no such page",
    405: "this method is not served here",
    408: "the body did not arrive in time",
    413: "the body is too large",
}


def make_application(
    token: str,
    metrics: Metrics,
    operations: o.Operations,
    on_event: EventSink,
    desk: RuleDesk | None = None,
    links: LinkOperations | None = None,
    models: ModelDesk | None = None,
) -> web.Application:
    """Return the application; ``on_event(name, fields)`` gets what is worth a log line.

    Without ``links`` the routes of lines and of the reload are not served.
    """
    api = _Api(token, metrics, operations, on_event)
    application = web.Application(middlewares=[api.answer_errors, api.check_token])
    application.add_routes(
        [
            web.get("/metrics", api.metrics_page),
            web.get("/healthz", api.health),
            web.get("/readyz", api.ready),
            web.get("/version", api.version),
            web.post("/v1/accounts", api.open_account),
            web.get("/v1/accounts/{account}", api.show_account),
            web.patch("/v1/accounts/{account}", api.patch_account),
            web.post("/v1/cards", api.open_card),
            web.patch("/v1/cards/{card}", api.patch_card),
            web.post("/v1/import", api.import_file),
            web.post("/v1/clearings", api.post_clearings),
            web.post("/v1/repayments", api.post_repayments),
            web.get("/v1/authorizations", api.find_authorizations),
            web.get("/v1/ledger", api.show_ledger),
            web.post("/v1/ledger/snapshot", api.take_snapshot),
        ]
    )
    if desk is not None:
        application.add_routes(rule_routes(api, desk))
    if links is not None:
        application.add_routes(LinkApi(links, api.call, _read_body, _operator).routes())
    if models is not None:
        application.add_routes(model_routes(api, models))
    return application


class _Api:
    """The handlers and what they share; lives on the loop of the HTTP thread."""

    def __init__(
        self, token: str, metrics: Metrics, operations: o.Operations, on_event: EventSink
    ) -> None:
        self._token = token
        self._metrics = metrics
        self._operations = operations
        self._on_event = on_event
        self._registry = make_registry(metrics)
        self._calls = 0
        self._is_importing = False

    @web.middleware
    async def answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn every error into JSON; the one place where an unexpected one is caught."""
        started_ns = time.monotonic_ns()
        try:
            response = await handler(request)
        except o.AdminError as error:
            response = _refusal(error)
        except web.HTTPException as error:
            response = _http_error(error)
        except Exception as error:  # the shell's one: note the kind, answer 500, go on
            failed = {"method": request.method, "path": _route(request), "reason": _kind(error)}
            self._on_event("http.failed", failed)
            response = error_response(500, "internal", "the engine failed; its log says where")
        if _route(request).startswith("/v1") or response.status == 401:
            fields = {
                "method": request.method,
                "path": _route(request),
                "status": response.status,
                "operator": "" if response.status in {400, 401} else _operator(request),
                "duration_us": (time.monotonic_ns() - started_ns) // 1_000,
            }
            self._on_event("http.request", fields)
        return response

    @web.middleware
    async def check_token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let /v1 in only with the token and, if any, a name that can go into a record."""
        if not (request.path + "/").startswith("/v1/"):
            return await handler(request)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not is_same_token(given.strip(), self._token):
            message = "Authorization: Bearer TOKEN is needed, with the token of this engine"
            response = error_response(401, "unauthorized", message)
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        _operator(request)
        return await handler(request)

    async def metrics_page(self, request: web.Request) -> web.Response:
        """Prometheus text, or OpenMetrics when asked for."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(
            body=encode(self._registry), headers={"Content-Type": content_type, "Server": "de39"}
        )

    async def health(self, _request: web.Request) -> web.Response:
        """200 while the event loop turns."""
        alive = self._is_turning()
        return json_response({"alive": alive}, status=200 if alive else 503)

    async def ready(self, _request: web.Request) -> web.Response:
        """200 only when a request could be committed now; each check by name."""
        checks = {"loop_turns": self._is_turning(), **self._operations.readiness()}
        ready = all(checks.values())
        return json_response({"ready": ready, "checks": checks}, status=200 if ready else 503)

    async def version(self, _request: web.Request) -> web.Response:
        """What runs and what decides."""
        return json_response(self._metrics.build._asdict())

    async def open_account(self, request: web.Request) -> web.Response:
        """POST /v1/accounts."""
        body = decode(await _body(request, HTTP_BODY_BYTES_MAX, BODY_TIMEOUT_S), o.OpenAccount)
        view = await self._call(lambda: self._operations.open_account(body, _operator(request)))
        return json_response(view, status=201)

    async def show_account(self, request: web.Request) -> web.Response:
        """GET /v1/accounts/{account}."""
        account = reference("account", request.match_info["account"])
        return json_response(await self._call(lambda: self._operations.account(account)))

    async def patch_account(self, request: web.Request) -> web.Response:
        """PATCH /v1/accounts/{account}."""
        account = reference("account", request.match_info["account"])
        body = decode(await _body(request, HTTP_BODY_BYTES_MAX, BODY_TIMEOUT_S), o.PatchAccount)
        if body == o.PatchAccount():
            raise o.Invalid("", "nothing to change: give limit_minor or status")
        operator = _operator(request)
        view = await self._call(lambda: self._operations.patch_account(account, body, operator))
        return json_response(view)

    async def open_card(self, request: web.Request) -> web.Response:
        """POST /v1/cards."""
        body = decode(await _body(request, HTTP_BODY_BYTES_MAX, BODY_TIMEOUT_S), o.OpenCard)
        view = await self._call(lambda: self._operations.open_card(body, _operator(request)))
        return json_response(view, status=201)

    async def patch_card(self, request: web.Request) -> web.Response:
        """PATCH /v1/cards/{card}."""
        text = request.match_info["card"]
        if re.fullmatch(r"[1-9][0-9]{0,9}", text) is None:
            raise o.NotFound("no such card; a card is named by its internal number")
        body = decode(await _body(request, HTTP_BODY_BYTES_MAX, BODY_TIMEOUT_S), o.PatchCard)
        if body == o.PatchCard():
            raise o.Invalid("", "nothing to change: give status, travel_notice or zone")
        operator = _operator(request)
        view = await self._call(lambda: self._operations.patch_card(int(text), body, operator))
        return json_response(view)

    async def import_file(self, request: web.Request) -> web.Response:
        """POST /v1/import: a CSV file, applied whole or not at all; one at a time."""
        if self._is_importing:
            raise o.Conflict("another import is under way")
        self._is_importing = True
        try:
            body = await _body(request, IMPORT_BYTES_MAX, IMPORT_BODY_TIMEOUT_S)
            operator = _operator(request)
            result = await self._call(
                lambda: self._operations.import_csv(body, operator), IMPORT_TIMEOUT_S
            )
        finally:
            self._is_importing = False
        return json_response(result)

    async def post_clearings(self, request: web.Request) -> web.Response:
        """POST /v1/clearings: items of a clearing, each for itself."""
        raw = await _body(request, CLEARING_BODY_BYTES_MAX, BODY_TIMEOUT_S)
        body, operator = decode_items(raw, o.PostClearings), _operator(request)
        report = await self._call(
            lambda: self._operations.post_clearings(body, operator), CLEARING_TIMEOUT_S
        )
        return json_response(report)

    async def post_repayments(self, request: web.Request) -> web.Response:
        """POST /v1/repayments: repayments and returned payments, each for itself."""
        raw = await _body(request, CLEARING_BODY_BYTES_MAX, BODY_TIMEOUT_S)
        body, operator = decode_items(raw, o.PostRepayments), _operator(request)
        report = await self._call(
            lambda: self._operations.post_repayments(body, operator), CLEARING_TIMEOUT_S
        )
        return json_response(report)

    async def find_authorizations(self, request: web.Request) -> web.Response:
        """GET /v1/authorizations?rrn=&account=&limit=."""
        unknown = set(request.query) - {"rrn", "account", "limit"}
        if unknown:
            raise o.Invalid("", "unknown parameter; known are: rrn, account, limit")
        rrn = request.query.get("rrn")
        account = request.query.get("account")
        if rrn is None and account is None:
            raise o.Invalid("rrn", "rrn or account is needed")
        if rrn is not None and re.fullmatch(r"[ -~]{1,12}", rrn) is None:
            raise o.Invalid("rrn", "rrn: must be 1 to 12 printable characters")
        if account is not None:
            reference("account", account)
        limit = _limit(request.query.get("limit", "50"))
        views = await self._call(lambda: self._operations.authorizations(rrn, account, limit))
        return json_response({"authorizations": views})

    async def take(
        self,
        request: web.Request,
        kind: type[B],
        start: Callable[[B, str], Future[Answer]],
        most: int,
    ) -> web.Response:
        """Decode the body as ``kind``, at most ``most`` bytes; call with the operator; answer."""
        body = decode(await _body(request, most, IMPORT_BODY_TIMEOUT_S), kind)
        operator = _operator(request)
        return json_response(await self._call(lambda: start(body, operator), IMPORT_TIMEOUT_S))

    async def ask(self, start: Callable[[], Future[Answer]]) -> web.Response:
        """Call and answer."""
        return json_response(await self._call(start))

    async def show_ledger(self, _: web.Request) -> web.Response:
        """GET /v1/ledger."""
        return json_response(await self._call(self._operations.ledger))

    async def take_snapshot(self, request: web.Request) -> web.Response:
        """POST /v1/ledger/snapshot."""
        name = _operator(request)
        view = await self._call(lambda: self._operations.take_snapshot(name))
        return json_response(view, status=202)

    async def call(self, start: Callable[[], Future[T]], timeout_s: float) -> T:
        """Wait for the engine; at most CALLS_MAX calls do at once."""
        return await self._call(start, timeout_s)

    async def _call(self, start: Callable[[], Future[T]], timeout_s: float = CALL_TIMEOUT_S) -> T:
        if self._calls >= CALLS_MAX:
            raise o.Unavailable("too many calls at once; try again")
        self._calls += 1
        try:
            return await _settled(start(), timeout_s)
        finally:
            self._calls -= 1

    def _is_turning(self) -> bool:
        turned_ns = int(self._metrics.turned_ns[0])
        return turned_ns > 0 and time.monotonic_ns() - turned_ns < ALIVE_NS


async def _settled(future: Future[T], timeout_s: float) -> T:
    """Wait for the engine without ever cancelling what it may be doing."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the HTTP loop has closed; nobody waits any more
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(wake)
    try:
        async with asyncio.timeout(timeout_s):
            await done.wait()
    except TimeoutError:
        message = f"no answer in {timeout_s:.0f} s; a change may or may not stand, read it back"
        raise o.Unavailable(message) from None
    return future.result(timeout=0)


async def _read_body(request: web.Request, kind: type[Any]) -> Any:
    return decode(await _body(request, HTTP_BODY_BYTES_MAX, BODY_TIMEOUT_S), kind)


async def _body(request: web.Request, most: int, timeout_s: float) -> bytes:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise o.Invalid("Content-Encoding", "Content-Encoding: compressed bodies are not taken")
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=most + 1)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most:
                    raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return bytes(body)


def _operator(request: web.Request) -> str:
    return operator_name(request.headers.get("X-Operator", "admin"))


def _limit(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,4}", text) is None or not 1 <= int(text) <= o.AUTHORIZATIONS_MAX:
        raise o.Invalid("limit", f"limit: must be 1 to {o.AUTHORIZATIONS_MAX}")
    return int(text)


def _refusal(error: o.AdminError) -> web.Response:
    field = error.field if isinstance(error, o.Invalid) else ""
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            return error_response(status, code, str(error), field)
    return error_response(500, "internal", "the engine failed; its log says where")


def _http_error(error: web.HTTPException) -> web.Response:
    code = _CODES.get(error.status, "refused")
    response = error_response(error.status, code, _TEXTS.get(error.status, "refused"))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    if error.status in {408, 413}:
        response.force_close()  # the rest of the body is not read
    return response


def _route(request: web.Request) -> str:
    """Return the pattern that matched, never the path: a path holds what people type into it."""
    resource: Any = request.match_info.route.resource  # None when nothing matched
    return resource.canonical if resource is not None else "unmatched"


def _kind(error: Exception) -> str:
    return type(error).__name__
