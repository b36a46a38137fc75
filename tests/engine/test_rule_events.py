"""Rules change at stated records: breakers, lists, modes; in any cut, and after a replay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.decision import Decision
from engine.replay import Replayer
from engine.rule_events import (
    Event,
    apply_rule_events,
    list_events,
    mode_event,
    rules_event,
    zones_event,
)
from engine.rules.book import ListChange, Source, refusing_of
from engine.rules.language import parse
from engine.rules.list_kernels import key_from_value, snooze_name
from engine.rules.program import Program, default_rules_path, program_from_file
from engine.rules.tree import Mode
from engine.state import EngineState
from engine.zones import zone_table
from ledger.journal import BlobKind
from ledger.record import Kind
from tests.support.effort import examples
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine, frame

pytestmark = pytest.mark.kernels

_SECOND_NS = 10**9
_OPTIONS = {"accounts": 4, "limit_minor": 10**9, "ring": 4096, "rows": 400}
_WRONG = """
breaker default 5% of 1000
breaker CAREFUL 90% of 256
rule WRONG pre decline(59) "everything" when amount >= 0.01
rule CAREFUL pre decline(62) "much" when amount >= 9.00 and terminal == "TERM0001"
rule SEEN pre shadow decline(65) "watched" when amount >= 0.01
"""
_LATE = """
breaker default 60% of 1000
rule WRONG pre decline(59) "much" when amount >= 3.00
"""
_LISTED = """
list bad merchant =
list cards card =
rule BAD pre decline(59) "bad merchant" when merchant in @bad
rule KNOWN pre allow(1h) overrides(HIGH) "known" when card in @cards
rule HIGH pre decline(61) "high" when amount >= 5.00
"""


def _program(text: str) -> Program:
    return program_from_file(parse(text))


def _traffic(count: int) -> list[tuple[int, bytes]]:
    return [
        (START_NS + n * _SECOND_NS, frame("0100", n % 8 + 1, n + 1, de4=f"{n % 900 + 100:012d}"))
        for n in range(count)
    ]


def _journaled(program: Program) -> tuple[SmallEngine, list[Event]]:
    """Return an engine whose rule set is in its journal, and what the journal holds so far."""
    engine = SmallEngine(**_OPTIONS, plain=True)
    event = rules_event(program, Source.FILE, "test", "", START_NS)
    return engine, [apply_rule_events([event], engine.state)]


def _replayed(engine: SmallEngine, parts: list[Event]) -> EngineState:
    """Return the state that the journal ``parts`` folds into, accounts and cards opened before."""
    again = SmallEngine(**_OPTIONS, plain=True)
    records = np.concatenate([records for records, _ in parts])
    blobs, row = [], 0
    for own, own_blobs in parts:
        blobs += [blob._replace(row=row + blob.row) for blob in own_blobs]
        row += len(own)
    Replayer(again.state, TABLES, HASH_KEY, chunk=97).apply(records, [], blobs)
    return again.state


def _same(one: EngineState, other: EngineState) -> None:
    mine, theirs = one.arrays(), other.arrays()
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        assert array.tobytes() == theirs[name].tobytes(), name


def test_a_rule_that_declines_everything_trips_and_approvals_recover() -> None:
    """Within 1,000 messages the rule is in shadow, by a record that says why, and money flows."""
    engine = SmallEngine(**_OPTIONS, program=_program(_WRONG))
    records, _, _ = engine.play(_traffic(1000), [300, 1, 299])
    trips = records[records["kind"] == Kind.RULE_MODE]
    payments = records[records["kind"] == Kind.AUTHORIZE]
    before = payments[payments["seq"] < trips["seq"][0]]
    after = payments[payments["seq"] > trips["seq"][0]]
    assert (before["result"] == Decision.RULE_DECLINED).all()
    assert len(before) <= 1000 - 1
    assert (after["result"] == Decision.APPROVED).mean() > 0.8
    assert (after["hits_lo"] & 1).all(), "it is watched on"
    assert next(b.data for b in engine.blobs if b.kind == BlobKind.NAME) == b"WRONG"
    assert engine.state.rules.mode_of("WRONG") is Mode.SHADOW
    assert engine.state.rules.mode_of("CAREFUL") is Mode.ACTIVE


def test_every_hit_stands_in_the_record() -> None:
    """Of 128 rules each third holds: 128 bits as they are, in batches of any size."""
    text = "".join(
        f'rule R{n} pre tag t "t" when amount {">" if n % 3 == 0 else "<"} 0.50\n'
        for n in range(128)
    )
    expected = sum(1 << n for n in range(0, 128, 3))
    engine = SmallEngine(**_OPTIONS, program=_program(text))
    records, _, _ = engine.play(_traffic(40), [1, 2, 9])
    assert len(records) == 40
    for low, high in zip(records["hits_lo"].tolist(), records["hits_hi"].tolist(), strict=True):
        assert low | high << 64 == expected


def test_the_shipped_file_guards_against_a_rule_that_declines_everything() -> None:
    """A rule added to it needs no breaker of its own: it is in shadow within 1,000 messages."""
    text = default_rules_path().read_text(encoding="utf-8")
    wrong = 'rule ALL pre decline(59) "everything" when amount > 0.00'
    engine = SmallEngine(**_OPTIONS, program=_program(f"{text}\n{wrong}"))
    records, _, _ = engine.play(_traffic(1600), [400] * 4)
    trip = records[records["kind"] == Kind.RULE_MODE]["seq"]
    assert (records["result"] == Decision.RULE_DECLINED).sum() <= 1000
    payments = records[records["kind"] == Kind.AUTHORIZE]
    assert len(trip) == 1
    assert (payments["result"][payments["seq"] < trip[0]] == Decision.RULE_DECLINED).all()
    assert (payments["result"][payments["seq"] > trip[0]] == Decision.APPROVED).mean() > 0.8
    assert engine.state.rules.mode_of("ALL") is Mode.SHADOW


@settings(max_examples=examples(10))
@given(st.lists(st.integers(1, 380), max_size=9))
def test_breakers_trip_at_the_same_record_in_any_cut(cuts: list[int]) -> None:
    """Whatever the batches, the records are the same bytes, the trip's among them."""
    engines = [SmallEngine(**_OPTIONS, program=_program(_WRONG)) for _ in range(2)]
    whole, _, answers = engines[0].play(_traffic(700), [])
    cut, _, same_answers = engines[1].play(_traffic(700), cuts)
    assert whole.tobytes() == cut.tobytes()
    assert answers == same_answers
    assert engines[0].blobs == engines[1].blobs
    assert engines[0].state.rules.breakers.tobytes() == engines[1].state.rules.breakers.tobytes()
    assert (whole["kind"] == Kind.RULE_MODE).sum() == 1


@settings(max_examples=examples(6))
@given(st.lists(st.integers(1, 550), max_size=9))
def test_a_pass_over_several_looks_trips_where_single_looks_do(cuts: list[int]) -> None:
    """While nothing can trip, a pass runs on past the looks: windows roll as they would have."""
    options = {**_OPTIONS, "rows": 550}
    engines = [SmallEngine(**options, program=_program(_LATE)) for _ in range(2)]
    whole, _, _ = engines[0].play(_traffic(1600), [])
    cut, _, _ = engines[1].play(_traffic(1600), [*cuts, *([50] * 32)])
    assert whole.tobytes() == cut.tobytes()
    assert engines[0].state.rules.breakers.tobytes() == engines[1].state.rules.breakers.tobytes()
    assert (whole["kind"] == Kind.RULE_MODE).sum() == 1


def test_replay_folds_sets_modes_lists_and_breakers() -> None:
    """A journal with reloads, lists, snoozes and a trip replays to the live state."""
    engine, parts = _journaled(_program(_WRONG))
    frames = _traffic(1200)
    hashes: NDArray[np.uint64] = np.zeros(0, np.uint64)
    for first in range(0, 1200, 300):
        records, _, _ = engine.play(frames[first : first + 300], [])
        hashes = np.unique(records["merchant"][records["merchant"] != 0])
        parts.append((records, engine.blobs))
        now_ns = int(records["ts_ns"][-1])
        events = list_events("bad", "merchant", ListChange.ADD, hashes, 0, ("ann", "seen"), now_ns)
        events.append(mode_event("CAREFUL", Mode.OFF, "ann", "too eager", now_ns))
        if first == 600:
            events.append(rules_event(_program(_LISTED), Source.OPERATOR, "ann", "new", now_ns))
        parts.append(apply_rule_events(events, engine.state))
    assert (parts[-2][0]["result"] == Decision.RULE_DECLINED).all(), "the list counts at once"
    _same(engine.state, _replayed(engine, parts))
    again = EngineState(engine.state.bounds)
    again.restore(engine.state.arrays())
    _same(engine.state, again)


def test_snooze_and_time_to_live() -> None:
    """A snoozed rule spares the card till its time; an allow's entries count for its time."""
    engine, _ = _journaled(_program(_LISTED))
    start_s = START_NS // 10**9
    snooze = snooze_name("HIGH")
    key = np.array([3], np.uint64)
    who = ("ann", "a good customer")
    until_s = start_s + 100
    events = list_events(snooze, "card", ListChange.ADD, key, until_s, who, START_NS)
    card = np.array([key_from_value(5.0, is_key=False)], np.uint64)
    events += list_events("cards", "card", ListChange.ADD, card, 0, who, START_NS)
    apply_rule_events(events, engine.state)

    def answer(card: int, at_s: int, stan: int) -> str:
        ts_ns = START_NS + at_s * _SECOND_NS
        records, _, _ = engine.play([(ts_ns, frame("0100", card, stan, de4=f"{900:012d}"))], [])
        return Decision(int(records["result"][-1])).name

    assert answer(3, 99, 1) == "APPROVED"
    assert answer(5, 99, 2) == "APPROVED"
    assert answer(4, 99, 3) == "RULE_DECLINED"
    assert answer(3, 100, 4) == "RULE_DECLINED"
    assert answer(5, 3599, 5) == "APPROVED"
    assert answer(5, 3600, 6) == "RULE_DECLINED"


def test_hits_beyond_the_record_stand_beside_it() -> None:
    """Rules from 128 on decide like others; their hits are named in a blob of the record."""
    lines = [f'rule R{n} pre tag t{n} "t" when amount >= 1.00' for n in range(200)]
    lines.append('rule LAST pre decline(62) "last" when amount >= 2.00')
    engine = SmallEngine(**_OPTIONS, program=_program("\n".join(lines)))
    records, _, _ = engine.play(_traffic(150), [])
    hits = [b for b in engine.blobs if b.kind == BlobKind.HITS]
    places = {b.row: np.frombuffer(b.data, "<u2").tolist() for b in hits}
    refusing = refusing_of(len(records), engine.blobs)
    declined = np.flatnonzero(records["result"] == Decision.RULE_DECLINED)
    assert (records["hits_hi"] == 2**64 - 1).all()
    assert (refusing[declined] == 200).all()
    assert places[int(declined[0])] == list(range(128, 201))
    assert places[0] == list(range(128, 200))


def test_the_journal_says_which_zones_were_read() -> None:
    """A set that reads a clock names the table; so does a start with another one, modes kept."""
    plain, clock = _program(_WRONG), _program('rule N pre tag n "n" when local.hour < 6')
    assert BlobKind.ZONES not in [b.kind for b in rules_event(plain, Source.FILE, "a", "", 0)[1]]
    engine, parts = _journaled(plain)
    book = engine.state.rules
    assert book.zones == ""
    events = [rules_event(clock, Source.FILE, "ann", "", START_NS)]
    events.append(mode_event("N", Mode.SHADOW, "ann", "", START_NS))
    parts.append(apply_rule_events(events, engine.state))
    assert book.zones == zone_table().version
    book.zones = "2020a 00"  # as another program had it
    parts.append(apply_rule_events([zones_event("start", "", START_NS)], engine.state))
    assert (book.zones, book.mode_of("N")) == (zone_table().version, Mode.SHADOW)
    _same(engine.state, _replayed(engine, parts))
    again = EngineState(engine.state.bounds)
    again.restore(engine.state.arrays())
    assert again.rules.zones == zone_table().version
