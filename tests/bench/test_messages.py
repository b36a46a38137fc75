"""The sample authorization: the same payment in every dialect."""

import pytest

from bench.messages import FIELDS, PAN, authorization
from engine.wire.dialect import BUILTIN_DIALECTS, Use, load_builtin
from engine.wire.text import build_message, read_message


@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
def test_it_survives_writing_and_reading(name: str) -> None:
    """Twenty-two values, among them the card number, come back from the bytes they make."""
    dialect = load_builtin(name)
    mti, values = authorization(dialect)
    assert len(values) == FIELDS
    assert values[dialect.field_of(Use.PAN)] == PAN
    assert read_message(dialect, build_message(dialect, mti, values)) == (mti, values)
