"""An engine of dictionaries: the whole of ``Operations`` without a ledger, for the HTTP tests."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import msgspec

from engine.admin import operations as o
from ledger.pan import Pan, luhn_digit

T = TypeVar("T")


def _answer(work: Callable[[], T]) -> Future[T]:
    """Do the work on another thread, as the engine does."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class MemoryOperations:
    """Accounts, cards and authorizations in dictionaries; ``changes`` has who did what."""

    def __init__(self) -> None:
        self.accounts: dict[str, o.AccountView] = {}
        self.cards: dict[int, o.CardView] = {}
        self.numbers: set[Pan] = set()
        self.history: list[o.AuthorizationView] = []
        self.changes: list[tuple[str, str]] = []
        self.checks = {"rules": True, "model": True, "ledger": True, "draining": True}
        self.failure: Exception | None = None
        self.filed: set[str] = set()

    def open_account(self, request: o.OpenAccount, operator: str) -> Future[o.AccountView]:
        """Open it once."""

        def work() -> o.AccountView:
            if request.account in self.accounts:
                raise o.Conflict(f"account {request.account} stands already")
            self.changes.append((operator, f"open {request.account}"))
            self.accounts[request.account] = o.AccountView(
                account=request.account,
                customer=request.customer,
                product=request.product,
                currency=request.currency,
                status="active",
                limit_minor=request.limit_minor,
                held_minor=0,
                used_minor=0,
                available_minor=request.limit_minor,
                cards=[],
            )
            return self.accounts[request.account]

        return _answer(work)

    def account(self, account: str) -> Future[o.AccountView]:
        """Show it, or fail as told."""

        def work() -> o.AccountView:
            if self.failure is not None:
                raise self.failure
            cards = [c for c in self.cards.values() if c.account == account]
            return msgspec.structs.replace(self._account(account), cards=cards)

        return _answer(work)

    def patch_account(
        self, account: str, request: o.PatchAccount, operator: str
    ) -> Future[o.AccountView]:
        """Change what is given."""

        def work() -> o.AccountView:
            view = self._account(account)
            if request.limit_minor is not None:
                view = msgspec.structs.replace(
                    view,
                    limit_minor=request.limit_minor,
                    available_minor=request.limit_minor - view.held_minor - view.used_minor,
                )
            if request.status is not None:
                view = msgspec.structs.replace(view, status=request.status)
            self.changes.append((operator, f"patch {account}"))
            self.accounts[account] = view
            return view

        return _answer(work)

    def open_card(self, request: o.OpenCard, operator: str) -> Future[o.CardView]:
        """Issue the number given, or the next one."""

        def work() -> o.CardView:
            self._account(request.account)
            card = len(self.cards) + 1
            made = f"411111{card:09d}"
            pan = request.pan or Pan(made + luhn_digit(made))
            if pan in self.numbers:
                raise o.Conflict(f"card number {pan} is in use")
            self.numbers.add(pan)
            self.changes.append((operator, f"issue {card}"))
            expiry = request.expiry_yymm or "3012"
            self.cards[card] = o.CardView(
                card, request.account, str(pan), expiry, "active", False, zone=request.zone
            )
            return self.cards[card]

        return _answer(work)

    def patch_card(self, card: int, request: o.PatchCard, operator: str) -> Future[o.CardView]:
        """Change what is given."""

        def work() -> o.CardView:
            if card not in self.cards:
                raise o.NotFound(f"no card {card}")
            changes = {k: v for k, v in msgspec.structs.asdict(request).items() if v is not None}
            self.changes.append((operator, f"patch card {card}"))
            self.cards[card] = msgspec.structs.replace(self.cards[card], **changes)
            return self.cards[card]

        return _answer(work)

    def post_clearings(self, request: o.PostClearings, operator: str) -> Future[o.FilingReport]:
        """Take every item as matched, and none twice."""
        return _answer(lambda: self._filed(request, operator, "matched"))

    def post_repayments(self, request: o.PostRepayments, operator: str) -> Future[o.FilingReport]:
        """Take every item as paid, and none twice."""
        return _answer(lambda: self._filed(request, operator, "paid"))

    def _filed(
        self, request: o.PostClearings | o.PostRepayments, operator: str, result: str
    ) -> o.FilingReport:
        views = []
        for item in request.items:
            was = "duplicate" if item.id in self.filed else result
            self.filed.add(item.id)
            views.append(o.ItemView(item.id, was, 1, 0, "nothing", [], ""))
        self.changes.append((operator, f"file {len(views)}"))
        count = sum(view.result == result for view in views)
        return o.FilingReport(request.dry_run, count, len(views) - count, 0, {result: count}, views)

    def import_csv(self, body: bytes, operator: str) -> Future[o.ImportResult]:
        """Count the lines."""

        def work() -> o.ImportResult:
            lines = body.decode().splitlines()[1:]
            for number, line in enumerate(lines, start=2):
                if line.count(",") != 7:
                    # Quotes the line on purpose: what an engine should not do must not get out.
                    raise o.Invalid("", f"line {number}: eight fields are needed: {line}")
            self.changes.append((operator, f"import {len(lines)}"))
            return o.ImportResult(len(lines), len(lines), len(lines))

        return _answer(work)

    def authorizations(
        self, rrn: str | None, account: str | None, limit: int
    ) -> Future[list[o.AuthorizationView]]:
        """Search the list, newest first."""

        def work() -> list[o.AuthorizationView]:
            found = [
                view
                for view in reversed(self.history)
                if rrn in {None, view.rrn} and account in {None, view.account}
            ]
            return found[:limit]

        return _answer(work)

    def ledger(self) -> Future[o.LedgerView]:
        """Return a fixed one."""
        return _answer(lambda: o.LedgerView(0, 1, 42, "00" * 8, 7, 6, 40))

    def take_snapshot(self, operator: str) -> Future[o.SnapshotView]:
        """Note who asked."""

        def work() -> o.SnapshotView:
            self.changes.append((operator, "snapshot"))
            return o.SnapshotView(42, 1_000)

        return _answer(work)

    def readiness(self) -> dict[str, bool]:
        """Tell the checks as they are set."""
        return dict(self.checks)

    def _account(self, account: str) -> o.AccountView:
        if account not in self.accounts:
            raise o.NotFound(f"no account {account}")
        return self.accounts[account]


AUTHORIZATION = o.AuthorizationView(
    record=151204,
    ts="2026-11-23T10:00:00.000000001Z",
    rrn="632810000042",
    stan="000042",
    account="A1",
    card=1,
    amount_minor=12_50,
    currency="840",
    decision="rule_declined",
    response_code="59",
    approval_code="",
    rules=[o.RuleView("R7", "count_1h > 5", "decline", "live")],
    rules_explained=None,
    score=0.9731,
    reasons=["count_1h"],
    reasons_of_record=None,
    ruleset_version="9f3a0c11",
    model_version="77aa00ff",
    merchant_category="5411",
    country="840",
    entry_mode="051",
    flags=["present"],
)
