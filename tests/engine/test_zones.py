"""The zone table is the IANA database: every second, every zone, as the standard library has it."""

from importlib import resources

import numpy as np
import pytest
import tzdata
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.zone_kernels import offset_of
from engine.zones import NAME_MAX, zone_name, zone_number, zone_table
from tests.oracle.zones import seconds_ahead
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

_NAMES = zone_table().names[1:]
_END_S = 1 << 32
_NEAR = (-3_601, -3_600, -1, 0, 1, 1_800, 3_599, 3_600)


def _ahead_s(t_s: int, name: str) -> int:
    table = zone_table()
    return int(offset_of(t_s, zone_number(name), table.zones, table.transitions))


@settings(max_examples=examples(300), deadline=None)
@given(name=st.sampled_from(_NAMES), t_s=st.integers(0, _END_S - 1))
def test_any_second_equals_the_standard_library(name: str, t_s: int) -> None:
    """Any zone at any second from 1970 to 2106."""
    assert _ahead_s(t_s, name) == seconds_ahead(t_s, name)


@settings(max_examples=examples(300), deadline=None)
@given(name=st.sampled_from(_NAMES), data=st.data())
def test_changes_are_at_their_second(name: str, data: st.DataObject) -> None:
    """Right before, at and after a change of the clocks, and an hour around it."""
    table = zone_table()
    zone = table.zones[zone_number(name)]
    row = data.draw(st.integers(int(zone["first"]), int(zone["last"]) - 1))
    change_s = int(table.transitions[row]["at_s"])
    for near in _NEAR:
        t_s = min(max(change_s + near, 0), _END_S - 1)
        assert _ahead_s(t_s, name) == seconds_ahead(t_s, name), near


@settings(max_examples=examples(10), deadline=None)
@given(name=st.sampled_from(_NAMES), start_s=st.integers(0, 7 * 86_400))
def test_no_change_is_left_out(name: str, start_s: int) -> None:
    """A look once a week over all years finds nothing that the table does not have."""
    for t_s in range(start_s, _END_S, 7 * 86_400):
        assert _ahead_s(t_s, name) == seconds_ahead(t_s, name), t_s


def test_the_table_is_of_the_release_that_proves_it() -> None:
    """Another release is another table: tools/zone_table.py makes it."""
    assert zone_table().release == tzdata.IANA_VERSION
    listed = set(resources.files("tzdata").joinpath("zones").read_text("ascii").split())
    assert listed - set(_NAMES) == {"Factory"}


def test_numbers_stay() -> None:
    """Records hold numbers: these were given out with the first table."""
    assert len(set(_NAMES)) == len(_NAMES)
    assert max(len(name) for name in _NAMES) <= NAME_MAX
    known = ("Africa/Abidjan", "America/New_York", "Asia/Kolkata", "Europe/Berlin", "Zulu")
    assert [zone_number(name) for name in known] == [1, 171, 285, 434, 597]
    assert [zone_name(number) for number in (0, 434, 60_000)] == ["", "Europe/Berlin", ""]


def test_slices_rise_from_the_first_second() -> None:
    """A search by halves finds a row whatever the time."""
    table = zone_table()
    for first, last in set(table.zones[1:].tolist()):
        at_s = table.transitions["at_s"][first:last].astype(np.int64)
        assert at_s[0] == 0
        assert (np.diff(at_s) > 0).all()


def test_an_unknown_name_says_what_would_be_right() -> None:
    """With the nearest name that there is."""
    assert zone_number("") == 0
    with pytest.raises(ValueError, match="such as Europe/Berlin; did you mean Europe/Vienna"):
        zone_number("Europe/Viena")
    with pytest.raises(ValueError, match="expected an IANA time zone"):
        zone_number("x" * 5_000)
