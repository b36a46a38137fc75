"""The part of /v1 that is about rules and lists: bodies, answers, routes.

GET   /v1/rules                     the set in force, what each rule does and has done
GET   /v1/rules/text                its text, or with ?sha256= that of a proposal
POST  /v1/rules                     put another set in force: {"text", "reason"}
POST  /v1/rules/approve             the second pair of eyes: {"sha256", "reason"}
POST  /v1/rules/reload              read the configured file anew
PATCH /v1/rules/{rule}              {"mode": "active" | "shadow" | "off", "reason"}; also "model"
POST  /v1/rules/{rule}/snooze       leave one card alone: {"card", "ttl_s", "reason"}
GET   /v1/lists, /v1/lists/{name}   lists with entries; the entries of one
POST  /v1/lists/{name}              {"change": "add" | "remove" | "clear", "values", ...}
"""

import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from engine.admin import operations as o
from ledger.pan import hide_pans

T = TypeVar("T", bound=msgspec.Struct)
Answer = dict[str, Any]
RULES_BYTES_MAX = 16 * 1024 * 1024  # a rule file of 4 MiB, as JSON text
LIST_BYTES_MAX = 128 * 1024 * 1024  # some millions of entries
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")

Reason = Annotated[str, Meta(max_length=200)]
TtlS = Annotated[int, Meta(ge=0, le=366 * 86_400)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body: every key known."""


class ApplyRules(_Body, frozen=True):
    """POST /v1/rules. With ``dry_run`` the text is checked and nothing changes."""

    text: str
    reason: Reason = ""
    dry_run: bool = False


class ApproveRules(_Body, frozen=True):
    """POST /v1/rules/approve: of the set with this hash (or its first eight digits)."""

    sha256: str
    reason: Reason = ""


class ReloadRules(_Body, frozen=True):
    """POST /v1/rules/reload."""

    reason: Reason = ""


class SetMode(_Body, frozen=True):
    """PATCH /v1/rules/{rule}."""

    mode: Literal["active", "shadow", "off"]
    reason: Reason = ""


class Snooze(_Body, frozen=True):
    """POST /v1/rules/{rule}/snooze: by internal card number; ``ttl_s`` 0 wakes it."""

    card: Annotated[int, Meta(ge=1, lt=1 << 32)]
    ttl_s: TtlS = 86_400
    reason: Reason = ""


class ChangeList(_Body, frozen=True):
    """POST /v1/lists/{name}. ``type`` is needed where no rule declares the list."""

    change: Literal["add", "remove", "clear"]
    values: list[str] = []
    type: str = ""
    ttl_s: TtlS = 0  # 0 = until removed
    reason: Reason = ""
    dry_run: bool = False


class RuleDesk(Protocol):
    """The engine's side; every method returns at once and may be called from any thread."""

    def show(self) -> Future[Answer]:
        """Return the set in force and its rules."""
        ...

    def text(self, sha256: str) -> Future[Answer]:
        """Return the text of the set in force, or of the proposal with this hash."""
        ...

    def apply(self, body: ApplyRules, operator: str) -> Future[Answer]:
        """Check a text and put it in force, or keep it for another operator to approve."""
        ...

    def approve(self, body: ApproveRules, operator: str) -> Future[Answer]:
        """Put in force what another operator has proposed."""
        ...

    def reload(self, body: ReloadRules, operator: str) -> Future[Answer]:
        """Read the configured file and put it in force."""
        ...

    def set_mode(self, rule: str, body: SetMode, operator: str) -> Future[Answer]:
        """Change what a rule does from the next request on."""
        ...

    def snooze(self, rule: str, body: Snooze, operator: str) -> Future[Answer]:
        """Let a rule leave a card alone for a time."""
        ...

    def lists(self) -> Future[Answer]:
        """Return names, types and sizes of the lists."""
        ...

    def show_list(self, name: str, limit: int) -> Future[Answer]:
        """Return the entries of a list."""
        ...

    def change_list(self, name: str, body: ChangeList, operator: str) -> Future[Answer]:
        """Add or remove entries, or all of them."""
        ...


class Caller(Protocol):
    """How a route runs: ``engine.admin.api`` reads bodies, waits and turns errors into JSON."""

    async def take(
        self,
        request: web.Request,
        kind: type[T],
        start: Callable[[T, str], Future[Answer]],
        most: int,
    ) -> web.Response:
        """Decode the body, call, answer."""
        ...

    async def ask(self, start: Callable[[], Future[Answer]]) -> web.Response:
        """Call, answer."""
        ...


def rule_routes(caller: Caller, desk: RuleDesk) -> list[web.RouteDef]:
    """Return the routes of rules and lists."""

    def named(request: web.Request) -> str:
        name = request.match_info["name"]
        if _NAME.fullmatch(name) is None or hide_pans(name) != name:
            raise o.NotFound("no such rule or list")
        return name

    def taking(
        kind: type[T], start: Callable[[str, T, str], Future[Answer]], most: int = 65_536
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            name = named(request) if "name" in request.match_info else ""
            return await caller.take(request, kind, lambda b, who: start(name, b, who), most)

        return handle

    async def show(_request: web.Request) -> web.Response:
        return await caller.ask(desk.show)

    async def text(request: web.Request) -> web.Response:
        sha256 = request.query.get("sha256", "")
        return await caller.ask(lambda: desk.text(sha256))

    async def lists(_request: web.Request) -> web.Response:
        return await caller.ask(desk.lists)

    async def show_list(request: web.Request) -> web.Response:
        name, limit = named(request), request.query.get("limit", "100")
        if re.fullmatch(r"[0-9]{1,7}", limit) is None:
            raise o.Invalid("limit", "limit: must be a number")
        return await caller.ask(lambda: desk.show_list(name, int(limit)))

    apply = taking(ApplyRules, lambda _, body, who: desk.apply(body, who), RULES_BYTES_MAX)
    return [
        web.get("/v1/rules", show),
        web.get("/v1/rules/text", text),
        web.post("/v1/rules", apply),
        web.post("/v1/rules/approve", taking(ApproveRules, lambda _, b, w: desk.approve(b, w))),
        web.post("/v1/rules/reload", taking(ReloadRules, lambda _, b, w: desk.reload(b, w))),
        web.patch("/v1/rules/{name}", taking(SetMode, desk.set_mode)),
        web.post("/v1/rules/{name}/snooze", taking(Snooze, desk.snooze)),
        web.get("/v1/lists", lists),
        web.get("/v1/lists/{name}", show_list),
        web.post("/v1/lists/{name}", taking(ChangeList, desk.change_list, LIST_BYTES_MAX)),
    ]
