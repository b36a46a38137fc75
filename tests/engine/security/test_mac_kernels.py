"""Which messages have a MAC, need one, and prove themselves: the kernels against a naive twin."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.card_checks import CHECK
from engine.decision import Decision
from engine.items import LINK
from engine.security.mac_kernels import (
    Asked,
    find_key_changes,
    find_macs,
    find_rooms,
    refuse_unchecked,
    room_for,
    settle_macs,
)
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.elements import Code
from engine.wire.table import FIELD

pytestmark = pytest.mark.kernels
_NS, _ROOM, _WRONG = 10**9, 64, int(Decision.MAC_WRONG)
_KEY, _DUE = 3, frozenset({2, 8})

_message = st.fixed_dictionaries(
    {
        "segment": st.integers(0, 2),
        "dialect": st.integers(0, 2),
        "mti": st.sampled_from([-1, 100, 200, 420, 800, 810, 820]),
        "fault": st.sampled_from([0, 0, 0, 2]),
        "network_code": st.sampled_from([-1, 1, 101, 161]),
        "bitmap_hi": st.integers(0, 3),
        "bitmap_lo": st.integers(0, 3),
        "right": st.booleans(),
        "width": st.sampled_from([0, 4, 8, 12]),
    }
)
_CODES = [Code.RAW, Code.ASCII_HEX, Code.EBCDIC_HEX]


def _field(m: dict[str, Any]) -> int:
    """DE128, else DE64 where it is the last field."""
    return 128 if m["bitmap_lo"] & 1 else 64 if m["bitmap_hi"] & 1 and not m["bitmap_lo"] else 0


def _is_due(m: dict[str, Any]) -> bool:
    """Demanded by the link, or by dialect 1 of what moves money."""
    group = m["mti"] // 100 % 10
    return group in _DUE or (m["dialect"] == 1 and group in (1, 2, 4))


def _set(messages: list[dict[str, Any]]) -> tuple[np.ndarray, ...]:
    request = np.zeros(len(messages), REQUEST)
    spans = np.zeros((len(messages), FIELD_COUNT, 2), np.uint16)
    arena = np.full(_ROOM * (len(messages) + 1), 0x30, np.uint8)
    for row, m in enumerate(messages):
        for name in set(m) - {"right", "width"}:
            request[row][name] = m[name]
        request[row]["start"] = row * _ROOM
        if _field(m):
            spans[row, _field(m)] = 20, m["width"] * (1 + (m["dialect"] > 0))
            mac = bytes(range(1, 9)) if m["right"] else bytes(8)
            text = mac.hex().encode("cp500" if m["dialect"] == 2 else "ascii")
            wire = text if m["dialect"] else mac
            arena[row * _ROOM + 20 :][: len(wire)] = list(wire)
    fields = np.zeros((3, FIELD_COUNT), FIELD)
    fields["data_code"] = np.array(_CODES)[:, None]
    fields["size"] = np.array([8, 16, 8])[:, None]
    return request, spans, arena, fields


@given(st.lists(_message, max_size=12), st.integers(0, 3))
def test_rows_are_found_and_settled_as_by_the_twin(
    messages: list[dict[str, Any]], first: int
) -> None:
    """Only of the profile and second; hex and raw; a wrong or missing one is objected to."""
    request, spans, arena, fields = _set(messages)
    links = np.zeros(3, LINK)
    links["security"], links["arrival_ns"] = [1, 2, 1], [_NS, _NS, 2 * _NS]
    asked = Asked(1, 1, sum(1 << k for k in _DUE), _KEY)
    must_have, checks = np.array([0, 1, 0], np.uint8), np.zeros(len(messages), CHECK)
    rows, found = (first, len(messages)), room_for(len(messages))

    count = find_macs(request, *rows, links, asked, must_have, fields, spans, checks, found)
    made = np.tile(np.arange(1, 9, dtype=np.uint8), (count, 1))
    settled = found.rows[:count].tolist()
    left = settle_macs(made, arena, _KEY + 1, count, checks, found)

    mine = [r for r in range(first, len(messages)) if messages[r]["segment"] == 0]
    sound = [r for r in mine if messages[r]["fault"] == 0]
    assert settled == [r for r in sound if _field(messages[r])]
    right = [r for r in settled if messages[r]["right"] and messages[r]["width"]]
    assert found.rows[:left].tolist() == [r for r in settled if r not in right]
    for row, m in enumerate(messages):
        bound = row in mine and (_is_due(m) or _field(m))
        assert int(checks[row]["wants_mac"]) == (_KEY + (row in right) if bound else 0)
        assert int(checks[row]["decision"]) == (
            _WRONG if row in sound and bound and row not in right else 0
        )

    checks[:] = 0
    refuse_unchecked(request, *rows, links, asked, must_have, 7, checks)
    has = [r for r in mine if (messages[r]["bitmap_hi"] | messages[r]["bitmap_lo"]) & 1]
    refused = [r for r in mine if r in has or _is_due(messages[r])]
    assert np.flatnonzero(checks["decision"] == 7).tolist() == refused

    changes = np.zeros(len(messages), np.int64)
    number = find_key_changes(request, len(messages), changes)
    assert changes[:number].tolist() == [
        r
        for r, m in enumerate(messages)
        if m["mti"] in (800, 820) and m["network_code"] in (101, 161) and m["fault"] == 0
    ]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 1), st.integers(0, 2)), max_size=9))
def test_rooms_are_those_of_the_key(replies: list[tuple[int, int, int]]) -> None:
    """Answers under another key, without a MAC or without room are left out."""
    rows, request = np.zeros(len(replies), REPLY), np.zeros(3, REQUEST)
    request["dialect"] = [0, 1, 2]
    for place, (key, room, number) in enumerate(replies):
        at = -1 if room < 0 else 100 * place + 40
        rows[place]["wants_mac"], rows[place]["mac_at"] = key, at
        rows[place]["request"], rows[place]["start"] = number, 100 * place + 2
    fields, found = _set([])[3], room_for(len(replies))

    count = find_rooms(rows, len(rows), 1, request, fields, found)

    expected = [p for p, (key, room, _) in enumerate(replies) if key == 1 and room >= 0]
    assert found.rows[:count].tolist() == expected
    assert found.starts[:count].tolist() == [100 * p + 2 for p in expected]
    assert found.sizes[:count].tolist() == [38] * count
    assert found.widths[:count].tolist() == [(8, 8, 4)[replies[p][2]] for p in expected]
    assert found.codes[:count].tolist() == [_CODES[replies[p][2]] for p in expected]
