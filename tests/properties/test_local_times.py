"""Rules read the clocks where a card is at home: live, in a backtest, in what explains a hit."""

from random import Random

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.events import apply_events, apply_zones, event_record
from engine.history import HistoryRun
from engine.replay import Replayer
from engine.rules.explain import explained
from engine.rules.language import parse
from engine.rules.program import program_from_file
from engine.rules.seen import Copier, Witness
from engine.state import EngineState
from engine.zones import zone_table
from ledger.record import Kind
from tests.oracle.rules import holds
from tests.oracle.zones import local_time
from tests.support.effort import examples
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine, frame

pytestmark = pytest.mark.kernels

_TEXT = """
zone "America/New_York"
rule NIGHT pre tag night "night" when time between 22:00 and 06:00
rule WEEKEND pre tag weekend "weekend" when local.weekday >= 5
rule TWO pre tag two "the hour that comes twice, or never" when local.hour == 2
rule HALF pre tag half "half past" when time >= 02:30 and time < 03:30 or local.hour == 23
"""
_PROGRAM = program_from_file(parse(_TEXT))
_FIXED = program_from_file(parse(_TEXT.replace('"America/New_York"', "-09:30")))
_CARDS = 6
_START_S = START_NS // 10**9
_END_S = (1 << 32) - 1
_WHEN_CHANGED = 7  # payments before a card moves


def _moves(engine: SmallEngine, zones: dict[int, int], ts_ns: int) -> NDArray[np.void]:
    """Give cards their zones, as an operator does; return the records."""
    state = engine.state
    records = np.concatenate(
        [event_record(Kind.CARD_ZONE, ts_ns, card=c, status=zone) for c, zone in zones.items()]
    )
    assert apply_events(records, state.accounts, state.cards, state.cursor) == len(zones)
    apply_zones(records, state.card_zones)
    return records


def _times(random: Random, zones: list[int], count: int) -> list[int]:
    """Return seconds in order, most of them around changes of the clocks of ``zones``."""
    table, found = zone_table(), []
    for zone in random.choices([z for z in zones if z] or [1], k=count):
        first, last = table.zones[zone].tolist()
        changes = table.transitions["at_s"][first:last]
        near = int(random.choice(changes.tolist())) + random.choice((-3_600, -1, 0, 1, 1_799))
        found.append(near if random.random() < 0.7 else random.randrange(_START_S, _END_S))
    return sorted(min(max(t_s, _START_S), _END_S) for t_s in found)


def _expected(t_s: int, zone: str | int) -> int:
    local = local_time(t_s, zone)
    row = {
        "time": float(local.hour * 3_600 + local.minute * 60 + local.second),
        "local.hour": float(local.hour),
        "local.weekday": float(local.weekday()),
        "currency": 840.0,
    }
    rules = _PROGRAM.source.rules
    return sum(1 << place for place, rule in enumerate(rules) if holds(rule.when, row, {}))


@settings(max_examples=examples(40), phases=(Phase.explicit, Phase.generate), deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([_PROGRAM, _FIXED]))
def test_hits_are_by_the_clocks_of_the_card(seed: int, program) -> None:
    """Any zones and seconds: the oracle's hits, the same in a backtest, and its explanation."""
    random, names = Random(seed), zone_table().names
    drawn = [random.choice((0, random.randrange(len(names)))) for _ in range(_CARDS)]
    zones = {card: zone for card, zone in enumerate(drawn, start=1) if zone} or {1: 1}
    engine = SmallEngine(program=program, ring=1024)
    parts = [_moves(engine, zones, _START_S * 10**9)]
    times = _times(random, [0, *zones.values()], 20)
    homes = [zones.get(card, 0) for card in range(_CARDS + 1)]
    default = program.source.zone or program.source.zone_s
    expected = []
    for stan, t_s in enumerate(times, start=1):
        if stan == _WHEN_CHANGED:
            homes[2] = random.randrange(len(names))
            parts.append(_moves(engine, {2: homes[2]}, t_s * 10**9))
        card = random.randint(1, _CARDS)
        records, _, _ = engine.play([(t_s * 10**9, frame("0100", card, stan, de4="0" * 12))], [])
        payment = records[records["kind"] == Kind.CHECK]
        expected.append(_expected(t_s, names[homes[card]] or default))
        assert payment["hits_lo"].tolist() == expected[-1:], (t_s, names[homes[card]])
        _explains(engine, payment[0])
        parts.append(records)
    whole = np.concatenate(parts)

    again = SmallEngine(program=program, ring=1024)
    run = HistoryRun(again.authorizer, program)
    assert np.concatenate([p.after for p in run.run(whole, [])])["hits_lo"].tolist() == expected
    assert run.passed_over == 0
    replayed = EngineState(engine.state.bounds)
    Replayer(replayed, TABLES, HASH_KEY, chunk=7).apply(np.concatenate([engine.events, whole]), [])
    restored = EngineState(engine.state.bounds)
    restored.restore({name: array.copy() for name, array in engine.state.arrays().items()})
    for state in (again.state, replayed, restored):
        assert state.card_zones[: _CARDS + 1].tolist() == homes


def _explains(engine: SmallEngine, payment: np.void) -> None:
    """What was copied of the row makes each rule that held hold again, and no other."""
    work, book = engine.authorizer.work, engine.state.rules
    numbers = np.array([payment["seq"]], np.int64), np.array([payment["ts_ns"]], np.int64)
    seen = Copier().rows(book, work, np.zeros(1, np.int64), *numbers)
    witness = Witness(seen.row(0), book.program)
    held = [
        explained(rule, witness.value_of, witness.is_listed)[0].holds
        for rule in book.program.source.rules
    ]
    assert held == [bool(int(payment["hits_lo"]) >> place & 1) for place in range(len(held))]


def test_a_snapshot_of_before_has_no_zones() -> None:
    """It goes back as it is: every card is in the zone of the rule set."""
    engine = SmallEngine()
    arrays = {name: array.copy() for name, array in engine.state.arrays().items()}
    del arrays["card_zones"]
    state = EngineState(engine.state.bounds)
    state.restore(arrays)
    assert not state.card_zones.any()


def test_a_zone_of_a_later_version_is_none() -> None:
    """A number that this program does not know leaves the card in the zone of the rule set."""
    engine = SmallEngine(program=_PROGRAM)
    _moves(engine, {1: 60_000, 2: len(zone_table().names)}, START_NS)
    records, _, _ = engine.play([(START_NS, frame("0100", c, c, de4="0" * 12)) for c in (1, 2)], [])
    assert records["hits_lo"].tolist() == [_expected(_START_S, "America/New_York")] * 2
