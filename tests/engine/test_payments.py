"""What scorer and rules read of a request, they read again from its record."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from engine.items import Role
from engine.payments import fill_payments, requests_of_records
from engine.rules.columns import RULE_FACTS
from engine.wire.columns import REQUEST
from ledger.record import Flag
from scoring.payment import PAYMENT
from tests.support.draws import Traffic, streams
from tests.support.effort import examples
from tests.support.small_engine import SmallEngine
from tests.support.streams import Player

pytestmark = pytest.mark.kernels

# What rules and posting add.
_AFTERWARDS = np.uint32(Flag.REVIEW | Flag.STEP_UP | Flag.OVER_LIMIT)


@settings(max_examples=examples(30))
@given(streams(Traffic(cards=4, events=False), most=25))
def test_payments_of_records_are_the_payments_of_requests(messages: list[Any]) -> None:
    """A backtest sees the very columns that the decision was taken on."""
    player = Player(SmallEngine(2, 2))
    for message in messages:
        player.play([message])
        work = player.engine.authorizer.work
        item = work.items[0]
        if item["role"] != Role.AUTHORIZE or item["record"] < 0:
            continue
        records = player.played.records[-1]
        record = records[int(item["record"]) : int(item["record"]) + 1].copy()
        request = np.zeros(1, REQUEST)
        payments, facts = np.zeros(1, PAYMENT), np.zeros(1, RULE_FACTS)
        items, accounts = work.items[:1].copy(), player.engine.state.accounts
        items["record"] = 0

        requests_of_records(record, request)
        count = fill_payments(
            0, 1, items, request, accounts, payments, facts, np.zeros(1, np.int32)
        )

        assert count == 1
        assert payments.tobytes() == work.payments[:1].tobytes()
        facts["flags"] &= ~_AFTERWARDS
        assert facts.tobytes() == work.facts[:1].tobytes()
