"""The part of /v1 that is about models and labels: bodies, answers, routes.

GET   /v1/models             the model in force, challengers in shadow, models kept
POST  /v1/models/promote     {"model": base64 of a file} or {"version"}, "reason", "dry_run"
POST  /v1/models/challenge   the same: score in shadow beside the model in force
POST  /v1/models/withdraw    {"version"}: a challenger goes
POST  /v1/models/rollback    {"reason"}: the model before the last promotion decides again
POST  /v1/labels             {"labels": [{"record", "label": "fraud" | "genuine"}], "dry_run"}
"""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from engine.admin.rules_api import Answer, Caller, Reason

T = TypeVar("T", bound=msgspec.Struct)
MODEL_BODY_BYTES_MAX = 96 * 1024 * 1024  # a file of 64 MiB as base64
LABELS_BYTES_MAX = 4 * 1024 * 1024
LABELS_MAX = 50_000


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body: every key known."""


class PutModel(_Body, frozen=True):
    """POST /v1/models/promote and /challenge; ``model`` is a whole file, or ``version`` names one.

    With ``dry_run`` the model is checked and nothing changes.
    """

    model: bytes = b""
    version: str = ""
    reason: Reason = ""
    dry_run: bool = False


class WithdrawModel(_Body, frozen=True):
    """POST /v1/models/withdraw."""

    version: str


class RollBack(_Body, frozen=True):
    """POST /v1/models/rollback."""

    reason: Reason = ""


class LabelOf(_Body, frozen=True):
    """What the payment of a ledger record turned out to be."""

    record: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    label: Literal["fraud", "genuine"]


class PutLabels(_Body, frozen=True):
    """POST /v1/labels: all of them or none."""

    labels: Annotated[list[LabelOf], Meta(min_length=1, max_length=LABELS_MAX)]
    dry_run: bool = False


class ModelDesk(Protocol):
    """The engine's side; futures fail with an ``AdminError``."""

    def show(self) -> Future[Answer]:
        """Return the model in force, challengers and models kept."""
        ...

    def promote(self, body: PutModel, operator: str) -> Future[Answer]:
        """Let a model decide from the next batch on. Invalid says what is wrong with it."""
        ...

    def challenge(self, body: PutModel, operator: str) -> Future[Answer]:
        """Score in shadow beside the model in force."""
        ...

    def withdraw(self, body: WithdrawModel, operator: str) -> Future[Answer]:
        """Take a challenger away. NotFound."""
        ...

    def rollback(self, body: RollBack, operator: str) -> Future[Answer]:
        """Let the model before decide again. Conflict when there is none."""
        ...

    def label(self, body: PutLabels, operator: str) -> Future[Answer]:
        """Take labels in. Invalid names the first that cannot be, Conflict one that stands."""
        ...


def model_routes(caller: Caller, desk: ModelDesk) -> list[web.RouteDef]:
    """Return the routes of models and labels."""

    def taking(
        kind: type[T], start: Callable[[T, str], Future[Answer]], most: int = 65_536
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return await caller.take(request, kind, start, most)

        return handle

    async def show(_request: web.Request) -> web.Response:
        return await caller.ask(desk.show)

    return [
        web.get("/v1/models", show),
        web.post("/v1/models/promote", taking(PutModel, desk.promote, MODEL_BODY_BYTES_MAX)),
        web.post("/v1/models/challenge", taking(PutModel, desk.challenge, MODEL_BODY_BYTES_MAX)),
        web.post("/v1/models/withdraw", taking(WithdrawModel, desk.withdraw)),
        web.post("/v1/models/rollback", taking(RollBack, desk.rollback)),
        web.post("/v1/labels", taking(PutLabels, desk.label, LABELS_BYTES_MAX)),
    ]
