"""The codec benchmark: both sides do the same work, and it reports every figure."""

import iso8583
import pytest
from iso8583.specs import default

from bench.codec import make_rig, measure, run
from engine.wire.dialect import BUILTIN_DIALECTS


def test_rig_answers_what_the_baseline_answers() -> None:
    """The rig's answer carries the fields that pyiso8583 is asked to write."""
    rig = make_rig(3)
    assert rig.decode() == 3
    rig.encode()
    read, _ = iso8583.decode(rig.out[2 : rig.out_end[0]].tobytes(), default)
    assert (read["t"], read["39"], read["38"]) == ("0110", "00", "A1B2C3")
    assert rig.request["fault"].tolist() == [0, 0, 0]


def test_measure_puts_the_headline_first() -> None:
    """Decode and encode together lead, with the baseline named."""
    figures = measure(runs=1, batches=(64,), dialects=("iso87-bin", "mc-cis"))
    assert figures[0].name == "codec iso87-bin decode + encode, batch 64"
    assert figures[3].name == "codec mc-cis decode + encode, batch 64"
    assert figures[0].baseline_value > 0
    assert len(figures) == 6


@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
def test_the_sample_is_sound_in_every_dialect(name: str) -> None:
    """Twenty-two fields, chip data among them, are read without a fault and answered."""
    rig = make_rig(2, name)
    assert rig.decode() == 2
    assert rig.encode() == rig.out_end[1] > 0
    assert rig.request["fault"].tolist() == [0, 0]
    words = [int(rig.request[0][word]) for word in ("bitmap_hi", "bitmap_lo")]
    assert sum(word.bit_count() for word in words) == 22


def test_run_refuses_impossible_numbers() -> None:
    """No runs is a one-line error."""
    with pytest.raises(SystemExit, match="--runs"):
        run(runs=0)
