"""What operators ask of the running engine, done in order with card traffic.

A thread of its own talks to the vault and waits for the journal, so card traffic never waits for
an operator. Changes of the state happen on the event loop, between two batches, as ledger records
under the operator's name; a future resolves when its record is durable.
"""

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.admin import operations as api
from engine.cards import CardFlag, CardStatus
from engine.clearing_desk import ClearingDesk
from engine.errors import ProblemFoundError, StorageFailure
from engine.events import apply_events, apply_zones, event_record
from engine.importing import Import, made_pan, parse_currency, read_import
from engine.inquiry import Kept, find_records, view_of_record
from engine.label_events import apply_labels
from engine.partition import EVENTS_A_BATCH
from engine.pipeline import Pipeline, event_job
from engine.registrar import Registrar, RegistrarError, Registration
from engine.rules.trail import NOTHING, RuleTrail
from engine.upkeep import Upkeep
from engine.zones import zone_name, zone_number
from ledger.accounts import AccountStatus
from ledger.journal import Blob, BlobKind
from ledger.record import Kind
from ledger.vault import Vault

T = TypeVar("T")

_EXPIRY_YEARS = 4
_COMMIT_TIMEOUT_S = 30.0


class EngineOperations:
    """Implements ``engine.admin.operations.Operations`` on a running pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        vault: Vault,
        registrar: Registrar,
        loop: asyncio.AbstractEventLoop,
        data: Path,
        ready: Callable[[], dict[str, bool]],
        upkeep: Upkeep,
    ) -> None:
        self._pipeline = pipeline
        self._state = pipeline.authorizer.state
        self._vault = vault
        self._registrar = registrar
        self._loop = loop
        self._data = data
        self._ready = ready
        self._upkeep = upkeep
        self._thread = ThreadPoolExecutor(1, "operations")
        self._desk = ClearingDesk(pipeline, vault, loop)

    def close(self) -> None:
        """Finish what was asked and stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def ledger(self) -> "Future[api.LedgerView]":
        """Tell where the ledger stands."""
        return self._thread.submit(self._upkeep.view)

    def take_snapshot(self, operator: str) -> "Future[api.SnapshotView]":  # noqa: ARG002 - no record
        """Begin a snapshot between two batches. Conflict while one is being written."""
        return self._thread.submit(self._take_snapshot)

    def readiness(self) -> dict[str, bool]:
        """Return each check that must hold to commit now."""
        return self._ready()

    def open_account(self, request: api.OpenAccount, operator: str) -> "Future[api.AccountView]":
        """Open an account. Conflict when it stands already."""
        return self._thread.submit(self._open_account, request, operator)

    def account(self, account: str) -> "Future[api.AccountView]":
        """Show an account. NotFound."""
        return self._thread.submit(self._account_view, account)

    def patch_account(
        self, account: str, request: api.PatchAccount, operator: str
    ) -> "Future[api.AccountView]":
        """Change limit or status. NotFound."""
        return self._thread.submit(self._patch_account, account, request, operator)

    def open_card(self, request: api.OpenCard, operator: str) -> "Future[api.CardView]":
        """Issue a card. NotFound for the account, Conflict when the number is in use."""
        return self._thread.submit(self._open_card, request, operator)

    def patch_card(
        self, card: int, request: api.PatchCard, operator: str
    ) -> "Future[api.CardView]":
        """Change status or controls. NotFound."""
        return self._thread.submit(self._patch_card, card, request, operator)

    def post_clearings(
        self, request: api.PostClearings, operator: str
    ) -> "Future[api.FilingReport]":
        """Match and post items of a clearing."""
        return self._thread.submit(self._desk.post, request.items, operator, request.dry_run)

    def post_repayments(
        self, request: api.PostRepayments, operator: str
    ) -> "Future[api.FilingReport]":
        """Post repayments and returned payments."""
        return self._thread.submit(self._desk.post, request.items, operator, request.dry_run)

    def import_csv(self, body: bytes, operator: str) -> "Future[api.ImportResult]":
        """Apply an import file whole or not at all. Invalid names the line."""
        return self._thread.submit(self._import_csv, body, operator)

    def authorizations(
        self, rrn: str | None, account: str | None, limit: int
    ) -> "Future[list[api.AuthorizationView]]":
        """Find authorizations, newest first."""
        return self._thread.submit(self._authorizations, rrn, account, limit)

    def _take_snapshot(self) -> api.SnapshotView:
        snapshots = self._upkeep.snapshots
        record = self._on_loop(snapshots.begin)
        if not record:
            raise api.Conflict("no snapshot now: one is being written, or the last one failed")
        return api.SnapshotView(record, snapshots.pause_ns // 1_000)

    def _open_account(self, request: api.OpenAccount, operator: str) -> api.AccountView:
        batch = Import(
            accounts=[request.account],
            customers=[request.customer],
            products=[request.product],
            currency=np.array([_currency(request.currency)], np.uint16),
            limit_minor=np.array([request.limit_minor], np.int64),
            pans=[],
            card_account=np.zeros(0, np.int64),
            expiry_yymm=np.zeros(0, np.uint16),
            status=np.zeros(0, np.uint16),
            is_made=np.zeros(0, np.bool_),
            zones=np.zeros(0, np.uint16),
        )
        self._register(lambda: self._registrar.register(batch, self._now_ns()), operator)
        return self._account_view(request.account)

    def _open_card(self, request: api.OpenCard, operator: str) -> api.CardView:
        number = self._account_number(request.account)
        _, cards, _ = self._vault.last_numbers()
        pan = request.pan or made_pan(cards + 1)
        expiry = int(request.expiry_yymm or self._default_expiry())
        registration = self._register(
            lambda: self._registrar.issue(
                number, pan, expiry, self._now_ns(), zone_number(request.zone)
            ),
            operator,
        )
        card = int(registration.card_numbers[0])
        if request.pin_value is not None:
            self._keep_pin_value(card, request.pin_value)
        return self._card_view(card)

    def _patch_account(
        self, account: str, request: api.PatchAccount, operator: str
    ) -> api.AccountView:
        number = self._account_number(account)
        row = self._on_loop(lambda: _copy(self._state.accounts, number))
        records = []
        if request.limit_minor is not None:
            fields = {"amount_minor": request.limit_minor, "amount2_minor": int(row["limit_minor"])}
            records.append(self._event(Kind.LIMIT, account=number, **fields))
        if request.status is not None:
            status = AccountStatus[request.status.upper()]
            records.append(self._event(Kind.ACCOUNT_STATUS, account=number, status=status))
        if records:
            self._commit(np.concatenate(records), operator)
        return self._account_view(account)

    def _patch_card(self, card: int, request: api.PatchCard, operator: str) -> api.CardView:
        view = self._card_view(card)
        account = self._account_number(view.account)
        records = []
        if request.status is not None:
            status = CardStatus[request.status.upper()]
            records.append(self._event(Kind.CARD_STATUS, card=card, account=account, status=status))
        if request.travel_notice is not None:
            flags = CardFlag.TRAVEL_NOTICE if request.travel_notice else 0
            records.append(self._event(Kind.CARD_FLAGS, card=card, account=account, status=flags))
        if request.zone is not None:
            zone = zone_number(request.zone)
            records.append(self._event(Kind.CARD_ZONE, card=card, account=account, status=zone))
        if request.pin_value is not None:
            self._keep_pin_value(card, request.pin_value)
        if request.pin_value is not None or request.pin_tries is not None:
            records.append(self._event(Kind.PIN_RESET, card=card, account=account))
        if records:
            self._commit(np.concatenate(records), operator)
        return self._card_view(card)

    def _keep_pin_value(self, card: int, value: str) -> None:
        """Keep what proves the PIN of a card: the first digit is the PVKI, 0 for an offset."""
        index, digits = int(value[0]), value[1:]
        self._vault.put_pin_value(card, index, digits)
        guard = self._pipeline.authorizer.guard
        if guard is not None:
            self._on_loop(lambda: guard.note_pin_value(card, index, digits))

    def _import_csv(self, body: bytes, operator: str) -> api.ImportResult:
        _, cards, _ = self._vault.last_numbers()
        with tempfile.NamedTemporaryFile(dir=self._data, suffix=".csv") as file:
            file.write(body)
            file.flush()
            try:
                batch = read_import(Path(file.name), first_serial=cards + 1)
            except ProblemFoundError as problem:
                text = str(problem).replace(f"{file.name}: ", "")
                raise api.Invalid("", text) from None
        self._register(lambda: self._registrar.register(batch, self._now_ns()), operator)
        return api.ImportResult(len(batch.pans), len(batch.accounts), len(batch.pans))

    def _authorizations(
        self, rrn: str | None, account: str | None, limit: int
    ) -> list[api.AuthorizationView]:
        number = None if account is None else self._account_number(account)
        trail = RuleTrail(limit)
        rows = find_records(self._data, rrn, number, limit, trail)
        program, kept = self._pipeline.authorizer.program, self._kept(rows)
        return [
            view_of_record(
                row,
                trail.sets.get(int(row["rules_version"]), program),
                self._vault,
                kept,
                trail.at.get(int(row["seq"]), NOTHING),
            )
            for row in rows
        ]

    def _kept(self, rows: list[NDArray[np.void]]) -> Kept:
        """Return what is kept to explain these records; nothing where the file fails."""
        explaining = self._pipeline.explaining
        if explaining is None:
            return Kept({}, {})
        records = np.array([int(row["seq"]) for row in rows], np.int64)
        try:
            return Kept(explaining.store.find(records), explaining.store.find_seen(records))
        except StorageFailure:
            return Kept({}, {})

    def _register(self, make: Callable[[], Registration], operator: str) -> Registration:
        try:
            registration = make()
        except RegistrarError as problem:
            text = str(problem)
            if "limits." in text:
                raise api.Unavailable(text) from None
            raise api.Conflict(text) from None
        for first in range(0, len(registration.records), EVENTS_A_BATCH):
            self._commit(registration.records[first : first + EVENTS_A_BATCH].copy(), operator)
        # In pieces: the loop must not stand still for a million cards.
        for first in range(0, len(registration.card_numbers), EVENTS_A_BATCH):
            last = first + EVENTS_A_BATCH
            numbers, tokens = registration.card_numbers[first:last], registration.tokens[first:last]
            self._on_loop(lambda n=numbers, t=tokens: self._state.add_tokens(n, t))  # type: ignore[misc]  # mypy infers no lambda with defaults
        return registration

    def _event(self, kind: Kind, **fields: int) -> NDArray[np.void]:
        return event_record(kind, self._now_ns(), **fields)

    def _commit(self, records: NDArray[np.void], operator: str) -> None:
        """Apply ``records`` on the loop and wait until they are durable."""
        durable: Future[None] = Future()
        blobs = [
            Blob(row, BlobKind.OPERATOR, operator.encode()[:64]) for row in range(len(records))
        ]

        def event() -> Any:
            state = self._state
            applied = apply_events(records, state.accounts, state.cards, state.cursor)
            assert applied == len(records), "numbers and bounds were checked before"
            apply_zones(records, state.card_zones)
            reset = records["card"][records["kind"] == Kind.PIN_RESET]
            state.chips["pin_tries"][reset] = 0
            apply_labels(records, state, self._pipeline.authorizer.tables)
            ts_ns = self._pipeline.now_ns()
            return event_job(records, ts_ns, blobs, lambda: durable.set_result(None))

        self._loop.call_soon_threadsafe(self._pipeline.submit, event)
        try:
            durable.result(_COMMIT_TIMEOUT_S)
        except TimeoutError:
            raise api.Unavailable("the journal has not confirmed the change in time") from None

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the loop's thread between two batches; return what it returns."""
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return result.result(_COMMIT_TIMEOUT_S)

    def _now_ns(self) -> int:
        return self._pipeline.now_ns()

    def _default_expiry(self) -> int:
        days = self._now_ns() // 86_400_000_000_000
        month = np.datetime64(int(days), "D").astype("datetime64[M]").astype(int)
        year = 1970 + int(month) // 12 + _EXPIRY_YEARS
        return year % 100 * 100 + int(month) % 12 + 1

    def _account_number(self, account: str) -> int:
        number = self._vault.account_number(account)
        if number == 0:
            raise api.NotFound(f"account {account} does not exist")
        return number

    def _account_view(self, account: str) -> api.AccountView:
        number = self._account_number(account)
        names = self._vault.account(number)
        assert names is not None, "the number came from the vault"
        row = self._on_loop(lambda: _copy(self._state.accounts, number))
        cards = [self._card_view(card.card_no) for card in self._vault.cards_of(number)]
        return api.AccountView(
            account=names.account_ref,
            customer=names.customer_ref,
            product=names.product,
            currency=f"{int(row['currency']):03d}",
            status=_status_text(AccountStatus(int(row["status"]))),
            limit_minor=int(row["limit_minor"]),
            held_minor=int(row["hold_minor"]),
            used_minor=int(row["used_minor"]),
            available_minor=int(row["otb_minor"]),
            cards=cards,
        )

    def _card_view(self, card: int) -> api.CardView:
        names = self._vault.card(card)
        if names is None:
            raise api.NotFound(f"card {card} does not exist")
        row = self._on_loop(lambda: _copy(self._state.cards, card))
        return api.CardView(
            card=card,
            account=self._vault.account_ref(names.account_no),
            pan=names.masked,
            expiry_yymm=f"{int(row['expiry_yymm']):04d}",
            status=_status_text(CardStatus(int(row["status"]))),
            travel_notice=bool(row["flags"] & CardFlag.TRAVEL_NOTICE),
            pin_tries=int(self._on_loop(lambda: _copy(self._state.chips, card))["pin_tries"]),
            zone=zone_name(int(self._state.card_zones[card])),
        )


def _copy(rows: NDArray[np.void], number: int) -> Any:
    """Return a row as it stands between two batches."""
    return rows[number].copy()


def _status_text(status: AccountStatus | CardStatus) -> Any:
    return status.name.lower()


def _currency(text: str) -> int:
    try:
        return parse_currency(text)
    except ValueError as problem:
        raise api.Invalid("currency", str(problem)) from None
