"""Every field of the two default dialects against pyiso8583, both ways."""

from random import Random

import iso8583
import iso8583.specs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.wire.dialect import Dialect
from engine.wire.text import build_message
from tests.engine.wire.support import BIN, DIALECTS, HEX, decode, drawn_value, field_spans, frame
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

SPECS = {"iso87-bin": iso8583.specs.default, "iso87-hex": iso8583.specs.default_ascii}
# pyiso8583 takes 65 as a flag; a field that must agree with others is drawn with them elsewhere.
EVERY_FIELD = sorted(set(BIN.fields) - {65})


@pytest.mark.parametrize("dialect", [BIN, HEX], ids=lambda d: d.name)
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=examples(12))
def test_each_field_alone_is_read_and_written_alike(dialect: Dialect, seed: int) -> None:
    """A message of DE11 and one field: pyiso8583 writes our bytes, and reads them as we do."""
    random = Random(seed)
    for number in EVERY_FIELD:
        values: dict[int, str | bytes] = {11: "000001"}
        values[number] = drawn_value(dialect, number, random)
        doc = {str(n): v if isinstance(v, str) else v.hex().upper() for n, v in values.items()}
        ours = build_message(dialect, "0800", values)
        theirs, _ = iso8583.encode({"t": "0800", **doc}, SPECS[dialect.name])
        assert bytes(theirs) == ours, number
        read, parts = iso8583.decode(ours, SPECS[dialect.name])
        batch = decode([(DIALECTS.index(dialect), frame(ours))])
        spans = field_spans(batch)
        assert set(spans) == set(values), number
        at, length = spans[number]
        assert ours[at : at + length] == parts[str(number)]["data"]
        assert read[str(number)] == doc[str(number)]
