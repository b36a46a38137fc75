"""A small engine in memory, and frames to play to it in any cut."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.authorize import Authorizer, Settings, Workspace
from engine.events import apply_events, event_record
from engine.items import LINK
from engine.rules.program import Program, default_rules_path, load_rules, no_rules
from engine.state import Bounds, EngineState
from engine.tokens import Tokenizer, pan_blocks
from engine.wire.dialect import parse_dialect
from engine.wire.table import SEGMENT, compile_dialects
from engine.wire.text import add_header, build_message
from ledger.authorizations import Cursor
from ledger.journal import Blob
from ledger.pan import luhn_digit
from ledger.record import Kind
from scoring.registry import default_model_path, load_model
from scoring.tables import tables

START_NS = 1_780_000_000 * 10**9
HASH_KEY = np.array([11, 22], np.uint64)
DIALECT = parse_dialect(
    """
extends = "iso87-bin"
name = "iso87-bin"
source = "a lifecycle id at the beginning of field 62"
[parts.62]
kind = "positional"
[parts.62.fields]
1.name = "id"
1.format = "n"
1.length = "fixed"
1.max = 15
1.sensitivity = "public"
1.use = "lifecycle"
""",
    "tests",
)
TABLES = tables()
MODEL = load_model(default_model_path())
RULES = load_rules(default_rules_path())
TABLE = compile_dialects([DIALECT])


def pan(number: int) -> str:
    """Return the test card number of card ``number``."""
    prefix = f"999900{number:09d}"
    return prefix + luhn_digit(prefix)


class SmallEngine:
    """Accounts 1..n with ``cards_each`` cards; no vault, no disk."""

    def __init__(
        self,
        accounts: int = 3,
        cards_each: int = 2,
        limit_minor: int = 50_000,
        *,
        plain: bool = False,
        ring: int = 256,
        merchants: int = 64,
        hold_life_h: int = 24,
        rows: int = 64,
        clock_from_messages: bool = False,
        program: Program | None = None,
    ) -> None:
        self.security = 0  # security profile of every link
        self.state = EngineState(Bounds(64, 64, merchants, ring, clearings_max=1024))
        self.plain_profile = TABLE.profile.copy()
        self.authorizer = Authorizer(
            self.state,
            TABLE,
            program or (no_rules() if plain else RULES),
            None if plain else MODEL,
            TABLES,
            Tokenizer(bytes(32)),
            HASH_KEY,
            Settings(hold_life_h=hold_life_h, clock_from_messages=clock_from_messages),
            Workspace(min(rows, ring // 4), 1 << 16),
        )
        cards = accounts * cards_each
        opened = [
            event_record(
                Kind.ACCOUNT_OPEN,
                START_NS,
                account=a,
                amount_minor=limit_minor,
                currency=840,
                status=1,
            )
            for a in range(1, accounts + 1)
        ]
        issued = [
            event_record(
                Kind.CARD_ISSUE,
                START_NS,
                card=c,
                account=(c - 1) // cards_each + 1,
                expiry_yymm=3512,
                status=1,
            )
            for c in range(1, cards + 1)
        ]
        self.events = np.concatenate(opened + issued)
        state = self.state
        done = apply_events(self.events, state.accounts, state.cards, state.cursor)
        assert done == len(self.events)
        if clock_from_messages:
            state.cursor[Cursor.LAST_TS_NS] = START_NS
        self.load_tokens(cards)

    def load_tokens(self, cards: int) -> None:
        """Let the cards 1..n be found."""
        tokens = np.zeros((cards, 2), np.uint64)
        blocks = pan_blocks([pan(c) for c in range(1, cards + 1)])
        Tokenizer(bytes(32)).tokens(blocks, cards, tokens)
        self.state.load_tokens(np.arange(1, cards + 1), tokens)

    def play(
        self, frames: Sequence[tuple[int, bytes]], cuts: Sequence[int]
    ) -> tuple[NDArray[np.void], list[tuple[int, bytes]], bytes]:
        """Run (time ns, frame) in batches of the sizes ``cuts``, the rest in one; one link a frame.

        Return all records, the orphans' originals by record row, and all answer bytes;
        ``blobs`` then has those about rules and lifecycle ids.
        """
        self.blobs: list[Blob] = []
        records, originals, answers, at, row = [], [], b"", 0, 0
        sizes = [*cuts]
        while at < len(frames):
            size = sizes.pop(0) if sizes else len(frames)
            part = frames[at : at + min(size, self.authorizer.work.rows)]
            at += len(part)
            outcome, out = self._run(part)
            originals += [(row + r, identity) for r, identity in outcome.originals]
            self.blobs += [b._replace(row=row + b.row) for b in outcome.blobs]
            row += len(outcome.records)
            records.append(outcome.records)
            answers += out
        return np.concatenate(records), originals, answers

    def _run(self, part: Sequence[tuple[int, bytes]]):
        segments, links = np.zeros(len(part), SEGMENT), np.zeros(len(part), LINK)
        at = 0
        for i, (ts_ns, frame) in enumerate(part):
            self.authorizer.work.arena[at : at + len(frame)] = np.frombuffer(frame, np.uint8)
            segments[i]["start"], segments[i]["end"] = at, at + len(frame)
            links[i]["arrival_ns"] = ts_ns
            links[i]["security"] = self.security
            at += len(frame)
        outcome = self.authorizer.run(segments, len(part), links, lambda _: None)
        self.state.maintain()
        return outcome, bytes(self.authorizer.work.out[: outcome.out_size])


def frame(mti: str, card: int, stan: int, **fields: str) -> bytes:
    """Return a framed message; ``de4="..."`` and so on change or add fields, "" removes one."""
    values = {
        2: pan(card),
        3: "000000",
        4: "000000001000",
        7: "0601120000",
        11: f"{stan:06d}",
        18: "5411",
        22: "051",
        32: "42",
        37: f"{stan:012d}",
        41: "TERM0001",
        42: "MERCHANT0000001",
        49: "840",
    }
    for name, value in fields.items():
        values[int(name[2:])] = value
    kept = {number: value for number, value in values.items() if value != ""}
    return add_header(DIALECT, build_message(DIALECT, mti, kept))
