"""What operators may ask of a running engine: the promise between HTTP and the engine.

The HTTP thread calls ``Operations``; the engine does the work on its own thread, in order with card
traffic, journals every change under the operator's name, and resolves the future when the record is
durable. No type here can show a card number: ``Pan`` hides itself and views hold masked numbers.
"""

import re
from concurrent.futures import Future
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from engine.filing import ITEMS_MAX, Clearing, Repayment
from engine.importing import PRODUCT_DEFAULT
from ledger.accounts import AMOUNT_MINOR_MAX
from ledger.pan import HIDDEN, Pan

AUTHORIZATIONS_MAX = 1_000

LimitMinor = Annotated[int, Meta(ge=0, le=AMOUNT_MINOR_MAX)]
AccountStatus = Literal["active", "blocked", "closed"]
CardStatus = Literal["active", "blocked", "lost", "stolen"]
PinValue = Annotated[str, Meta(pattern=r"\A[0-9]{5,13}\Z")]
_MASKED = re.compile(r"\A[0-9]{6}\*{2,9}[0-9]{4}\Z")


class AdminError(Exception):
    """A request that cannot be done; the text goes to the operator and holds no card number."""


class NotFound(AdminError):  # noqa: N818  (it is an answer rather than a failure)
    """No such account, card or authorization."""


class Conflict(AdminError):  # noqa: N818
    """It stands already, or its state forbids the change."""


class Invalid(AdminError):  # noqa: N818
    """A value cannot be taken; ``field`` names it as the request does ("" = the whole)."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Forbidden(AdminError):  # noqa: N818
    """The operator may not do it."""


class Unavailable(AdminError):  # noqa: N818
    """The engine cannot do it now: it starts, drains, is at a bound or cannot commit."""


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body: every key known; ``bodies.decode`` checks the values as an import does."""


class OpenAccount(_Request, frozen=True):
    """POST /v1/accounts. ``currency`` is the ISO 4217 number."""

    account: str
    customer: str
    limit_minor: LimitMinor
    product: str = PRODUCT_DEFAULT
    currency: str = "840"


class OpenCard(_Request, frozen=True):
    """POST /v1/cards. Without ``pan`` or ``expiry_yymm`` the engine makes them.

    ``pin_value`` proves the card's PIN: PVKI and PVV (5 digits), or an IBM 3624 offset (``0`` and
    4 to 12 digits). ``zone`` is the IANA time zone of the card; "" = that of the rule set.
    """

    account: str
    pan: Pan | None = None
    expiry_yymm: str | None = None
    pin_value: PinValue | None = None
    zone: str = ""


class PatchAccount(_Request, frozen=True):
    """PATCH /v1/accounts/{account}: what is given changes, the rest stays."""

    limit_minor: LimitMinor | None = None
    status: AccountStatus | None = None


class PatchCard(_Request, frozen=True):
    """PATCH /v1/cards/{card}: what is given changes, the rest stays."""

    status: CardStatus | None = None
    travel_notice: bool | None = None
    pin_value: PinValue | None = None  # a new PIN; wrong tries are forgotten with the old one
    pin_tries: Literal[0] | None = None  # unblock the PIN
    zone: str | None = None  # IANA time zone; "" = that of the rule set


class PostClearings(_Request, frozen=True):
    """POST /v1/clearings. Each item stands for itself; an id that is known moves nothing."""

    items: Annotated[list[Clearing], Meta(min_length=1, max_length=ITEMS_MAX)]
    dry_run: bool = False


class PostRepayments(_Request, frozen=True):
    """POST /v1/repayments, the same."""

    items: Annotated[list[Repayment], Meta(min_length=1, max_length=ITEMS_MAX)]
    dry_run: bool = False


class ItemView(msgspec.Struct, frozen=True):
    """What became of one item."""

    id: str
    result: str  # name of engine.presentment.Result, lower case
    record: int  # its record, or that of the first one with its id; 0 = none
    authorization: int  # record of the authorization it drew on, or gives back to; 0 = none
    matched_by: str  # record, lifecycle, rrn, approval, nothing
    flags: list[str]
    reason: str  # why it was rejected; "" = it was not


class FilingReport(msgspec.Struct, frozen=True):
    """What became of the items, in their order; ``counts`` by result."""

    dry_run: bool
    posted: int
    duplicates: int
    rejected: int
    counts: dict[str, int]
    items: list[ItemView]


class CardView(msgspec.Struct, frozen=True):
    """A card as operators see it; ``pan`` is masked to the first six and last four digits."""

    card: int  # internal number, from 1
    account: str
    pan: str
    expiry_yymm: str
    status: CardStatus
    travel_notice: bool
    pin_tries: int = 0  # wrong PINs in a row
    zone: str = ""  # IANA time zone; "" = that of the rule set

    def __post_init__(self) -> None:
        if self.pan != HIDDEN and not _MASKED.match(self.pan):
            raise ValueError("pan: only a masked card number can be shown")


class AccountView(msgspec.Struct, frozen=True):
    """An account as operators see it; amounts in minor units of ``currency``."""

    account: str
    customer: str
    product: str
    currency: str
    status: AccountStatus
    limit_minor: int
    held_minor: int
    used_minor: int
    available_minor: int
    cards: list[CardView]


class RuleView(msgspec.Struct, frozen=True):
    """A rule that held on an authorization."""

    rule: str
    text: str
    action: str
    mode: str


class PredicateView(msgspec.Struct, frozen=True):
    """A comparison of a rule that held, with the values of then, as ``de39 rules explain`` has it.

    ``held`` is false of one that stands under a "not", which holds where it does not.
    """

    text: str
    column: str  # or the sum on the left
    operator: str
    threshold: str  # what stands on the right: a constant, a list, a sum
    held: bool
    values: dict[str, str]  # by column: "12.50", "5411", "missing"
    units: dict[str, str]  # by column; of amounts with the currency


class RuleExplainedView(msgspec.Struct, frozen=True):
    """A rule that held, and by which of its comparisons."""

    rule: str
    text: str
    action: str
    predicates: list[PredicateView]


class RulesExplainedView(msgspec.Struct, frozen=True):
    """What rules that held saw then; ``note`` says why nothing is shown, "" = all is."""

    rules: list[RuleExplainedView]
    note: str


class ReasonView(msgspec.Struct, frozen=True):
    """One feature that raised a score: its value, and what it added to the log odds."""

    feature: str
    value: float
    adds: float
    text: str


class RecordedReasonsView(msgspec.Struct, frozen=True):
    """Reasons of record: exact Shapley values, of which the strongest that raised the score.

    The margin is ``expected``, what the model expects of any payment, and what all features add.
    """

    expected: float
    margin: float
    reasons: list[ReasonView]


class AuthorizationView(msgspec.Struct, frozen=True):
    """What was decided about one request, and why."""

    record: int  # sequence number in the ledger
    ts: str  # UTC, RFC 3339, nanoseconds
    rrn: str
    stan: str
    account: str  # "" = none was found
    card: int  # 0 = none was found
    amount_minor: int
    currency: str
    decision: str  # name of engine.decision.Decision, lower case
    response_code: str
    approval_code: str  # "" = not approved
    rules: list[RuleView]
    rules_explained: RulesExplainedView | None  # None = no rule held
    score: float | None  # 0 to 1; None = not scored
    reasons: list[str]  # features that raised the score most, as estimated when it was decided
    reasons_of_record: RecordedReasonsView | None  # None = approved, not scored, or not made yet
    ruleset_version: str  # hex; "" = no rules
    model_version: str  # hex; "" = no model
    merchant_category: str
    country: str
    entry_mode: str
    flags: list[str]


class ImportResult(msgspec.Struct, frozen=True):
    """What an import did; it is all or nothing."""

    rows: int
    accounts: int
    cards: int


class LedgerView(msgspec.Struct, frozen=True):
    """Where the ledger stands. The first four are the witness of all that was acknowledged."""

    partition: int
    epoch: int
    record: int  # the last durable one
    head: str  # first 8 bytes of the head of its batch, hex
    batches: int
    checkpoint_batches: int  # covered by the newest signed checkpoint
    snapshot_record: int  # the last one in the newest snapshot


class SnapshotView(msgspec.Struct, frozen=True):
    """A snapshot that was begun; ``snapshot_record`` of the ledger tells when it stands."""

    record: int  # the last one in it
    pause_us: int  # how long traffic stood still


class Operations(Protocol):
    """The engine's side. Every method may be called from any thread and returns at once.

    Futures fail with an ``AdminError``; anything else is a fault of the engine. A method may also
    raise ``Unavailable`` itself. ``operator`` is a checked name and goes into the record.
    """

    def open_account(self, request: OpenAccount, operator: str) -> Future[AccountView]:
        """Open an account. Conflict when it stands already."""
        ...

    def account(self, account: str) -> Future[AccountView]:
        """Show an account. NotFound."""
        ...

    def patch_account(
        self, account: str, request: PatchAccount, operator: str
    ) -> Future[AccountView]:
        """Change limit or status. NotFound, Conflict."""
        ...

    def open_card(self, request: OpenCard, operator: str) -> Future[CardView]:
        """Issue a card. NotFound for the account, Conflict when the number is in use."""
        ...

    def patch_card(self, card: int, request: PatchCard, operator: str) -> Future[CardView]:
        """Change status or controls. NotFound, Conflict."""
        ...

    def post_clearings(self, request: PostClearings, operator: str) -> Future[FilingReport]:
        """Match and post items of a clearing."""
        ...

    def post_repayments(self, request: PostRepayments, operator: str) -> Future[FilingReport]:
        """Post repayments and returned payments."""
        ...

    def import_csv(self, body: bytes, operator: str) -> Future[ImportResult]:
        """Apply an import file whole or not at all. Invalid names the field and the line."""
        ...

    def authorizations(
        self, rrn: str | None, account: str | None, limit: int
    ) -> Future[list[AuthorizationView]]:
        """Find authorizations, newest first, at most ``limit``; at least one key is given."""
        ...

    def ledger(self) -> Future[LedgerView]:
        """Tell where the ledger stands."""
        ...

    def take_snapshot(self, operator: str) -> Future[SnapshotView]:
        """Begin a snapshot between two batches. Conflict while one is being written."""
        ...

    def readiness(self) -> dict[str, bool]:
        """Return each check that must hold to commit now; must not wait."""
        ...
