"""Posts clearing and repayment items on the running engine, between two batches of card traffic.

Runs on the operations thread; the state changes on the event loop, a piece at a time, and the call
returns when every record is durable. An item is whole or not there: sending the same items again
after a failure posts what is missing and nothing twice.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.admin import operations as api
from engine.filing import Clearing, Item, columns_of, settle_rows
from engine.pipeline import Pipeline, event_job
from engine.presentment import REASONS, MatchedBy, Result
from ledger.journal import Blob, BlobKind
from ledger.record import Flag
from ledger.vault import Vault

PIECE_ITEMS = 2048  # the loop stands still for some milliseconds at most
_COMMIT_TIMEOUT_S = 30.0
_OPERATOR_BYTES_MAX = 64


class ClearingDesk:
    """Takes checked items; see the module."""

    def __init__(self, pipeline: Pipeline, vault: Vault, loop: asyncio.AbstractEventLoop) -> None:
        self._pipeline = pipeline
        self._vault = vault
        self._loop = loop

    def post(
        self,
        items: Sequence[Item],
        operator: str,
        is_dry: bool,  # noqa: FBT001  (a request says so)
    ) -> api.FilingReport:
        """Match and, unless ``is_dry``, post ``items``; return what became of each.

        A dry run looks at each item alone: one that is about another item of the same call does not
        find it. Raises ``Unavailable`` when the journal does not confirm in time.
        """
        views: list[api.ItemView] = []
        for first in range(0, len(items), PIECE_ITEMS):
            piece = items[first : first + PIECE_ITEMS]
            rows, authorizations = self._piece(piece, operator, is_dry=is_dry)
            views += [
                _view(item, row, authorization)
                for item, row, authorization in zip(piece, rows, authorizations, strict=True)
            ]
        counts = Counter(view.result for view in views)
        rejected = sum(bool(view.reason) for view in views)
        duplicates = counts[Result.DUPLICATE.name.lower()]
        return api.FilingReport(
            dry_run=is_dry,
            posted=len(views) - rejected - duplicates,
            duplicates=duplicates,
            rejected=rejected,
            counts=dict(sorted(counts.items())),
            items=views,
        )

    def _piece(
        self, items: Sequence[Item], operator: str, *, is_dry: bool
    ) -> tuple[NDArray[np.void], list[int]]:
        """Return the rows of ``items``, settled, and the record of each one's authorization."""
        authorizer, state = self._pipeline.authorizer, self._pipeline.authorizer.state
        tokens = self._tokens(items)
        accounts = self._accounts(items)
        done: Future[tuple[NDArray[np.void], list[int]]] = Future()

        def event() -> Any:
            cards = np.zeros(len(items), np.int64)
            state.card_index.find_many(tokens, cards)
            cards = np.where(tokens.any(axis=1), np.maximum(cards, 0), 0)
            owners = np.where(cards > 0, state.cards["account"][cards], accounts)
            pairs = list(zip(owners.tolist(), cards.tolist(), strict=True))
            now_ns = self._pipeline.now_ns()
            today = int(str(np.datetime64(now_ns // 86_400_000_000_000, "D")).replace("-", ""))
            rows = columns_of(items, pairs, authorizer.hash_key, state.next_seq - 1, today)
            records = settle_rows(state, authorizer.terms, rows, now_ns, do_post=not is_dry)
            seqs = state.ring["seq"][rows["entry"] & (len(state.ring) - 1)]
            result = rows, np.where(rows["entry"] > 0, seqs, 0).tolist()

            def finish() -> None:
                if not is_dry:
                    np.add.at(self._pipeline.metrics.filed, rows["result"].astype(np.intp), 1)
                done.set_result(result)

            if not len(records):
                finish()
                return None
            return event_job(records, now_ns, _blobs(items, rows, operator), finish)

        def guarded() -> Any:
            try:
                return event()
            except BaseException as error:
                done.set_exception(error)
                raise

        self._loop.call_soon_threadsafe(self._pipeline.submit, guarded)
        try:
            return done.result(_COMMIT_TIMEOUT_S)
        except TimeoutError:
            message = "the journal has not confirmed in time; send the same items again"
            raise api.Unavailable(message) from None

    def _tokens(self, items: Sequence[Item]) -> NDArray[np.uint64]:
        """Return the card token of each item u64 (k, 2), zeros where it names an account."""
        tokens = np.zeros((len(items), 2), np.uint64)
        places, pans = [], []
        for i, item in enumerate(items):
            if isinstance(item, Clearing) and item.pan is not None:
                places.append(i)
                pans.append(item.pan)
        if pans:
            tokens[places] = self._pipeline.authorizer.tokenizer.of_pans(pans)
        return tokens

    def _accounts(self, items: Sequence[Item]) -> NDArray[np.int64]:
        names = {item.account for item in items if item.account}
        numbers = {name: self._vault.account_number(name) for name in names}
        return np.array([numbers.get(item.account, 0) for item in items], np.int64)


def _blobs(items: Sequence[Item], rows: NDArray[np.void], operator: str) -> list[Blob]:
    """Return who asked and the id of each item that has a record."""
    name = operator.encode()[:_OPERATOR_BYTES_MAX]
    blobs: list[Blob] = []
    posted = np.flatnonzero(rows["result"] < Result.DUPLICATE).tolist()
    for record, place in enumerate(posted):
        blobs.append(Blob(record, BlobKind.OPERATOR, name))
        blobs.append(Blob(record, BlobKind.REFERENCE, items[place].id.encode()))
    return blobs


def _view(item: Item, row: Any, authorization: int) -> api.ItemView:
    result = Result(int(row["result"]))
    flags = int(row["flags"]) & ~(Flag.FILED | Flag.FINAL)
    return api.ItemView(
        id=item.id,
        result=result.name.lower(),
        record=int(row["seq"]),
        authorization=authorization,
        matched_by=MatchedBy(int(row["matched_by"])).name.lower(),
        flags=[flag.name.lower() for flag in Flag if flags & flag],
        reason=REASONS.get(result, ""),
    )
