"""What checks decide and what cards remember, against a naive twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.card_checks import CHECK, Finding, apply_checks, judge_checks, new_chips
from engine.decision import Decision
from engine.items import ITEM, Role, Setting
from ledger.record import Flag
from tests.oracle.security import Card
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
_FINDINGS = st.sampled_from(["none", "right", "right", "wrong", "unknown"])
_STEPS = st.lists(
    st.tuples(_FINDINGS, _FINDINGS, _FINDINGS, st.integers(0, 80)), min_size=1, max_size=40
)


def _items(count: int) -> np.ndarray:
    items = np.zeros(count, ITEM)
    items["role"], items["card"] = Role.AUTHORIZE, 1
    items["request"] = np.arange(count)
    return items


@given(_STEPS, st.integers(1, 4))
@settings(max_examples=examples(200))
def test_a_card_is_judged_as_by_the_twin(
    steps: list[tuple[str, str, str, int]], tries_max: int
) -> None:
    """Any order of right and wrong PINs, values and cryptograms, counters back and forth."""
    card, chips = Card(), new_chips(2)
    setting = np.zeros(len(Setting), np.int64)
    setting[Setting.PIN_TRIES_MAX] = tries_max
    for chip, cvv, pin, atc in steps:
        checks = np.zeros(1, CHECK)
        checks[0] = (0, atc, 0, *(Finding[name.upper()] for name in (pin, cvv, chip)), 0)
        items = _items(1)

        judge_checks(np.zeros(1, np.int32), items, checks, chips, setting)

        decision = Decision(int(items[0]["decision"])).name
        assert decision == card.judge(chip, cvv, pin, atc, tries_max)
        assert int(chips[1]["pin_tries"]) == card.pin_tries
    assert chips[0] == np.zeros(1, chips.dtype)[0]


def test_advices_and_messages_without_a_card_are_not_judged() -> None:
    """What has happened elsewhere is not declined; nothing is kept of nobody's card."""
    items, checks = _items(3), np.zeros(3, CHECK)
    checks["pin"] = Finding.WRONG
    items["flags"][0] = Flag.ADVICE
    items["card"][1] = 0
    items["role"][2] = Role.REVERSE
    chips, setting = new_chips(2), np.full(len(Setting), 3, np.int64)

    judge_checks(np.arange(3, dtype=np.int32), items, checks, chips, setting)

    assert items["decision"].tolist() == [Decision.APPROVED] * 3
    assert not chips["pin_tries"].any()


def test_an_objection_makes_an_answer() -> None:
    """Payments and reversals become answers; format errors and silent messages stay."""
    items, checks = _items(4), np.zeros(4, CHECK)
    items["role"] = [Role.AUTHORIZE, Role.REVERSE, Role.ANSWER, Role.SILENT]
    items["decision"] = [0, 0, Decision.FORMAT_ERROR, 0]
    checks["decision"] = Decision.MAC_WRONG

    apply_checks(checks, 4, items)

    assert items["role"].tolist() == [Role.ANSWER, Role.ANSWER, Role.ANSWER, Role.SILENT]
    assert items["decision"].tolist() == [
        Decision.MAC_WRONG, Decision.MAC_WRONG, Decision.FORMAT_ERROR, 0,
    ]  # fmt: skip
