"""The codec as pytest-benchmark cases: ``pytest bench/bench_codec.py``."""

from typing import Any

import pytest

from bench.codec import BATCHES, make_peer, make_rig


@pytest.mark.parametrize("batch", BATCHES)
def test_decode(benchmark: Any, batch: int) -> None:
    """Decode a batch of equal 0100 frames."""
    rig = make_rig(batch)
    assert benchmark(rig.decode) == batch


@pytest.mark.parametrize("batch", BATCHES)
def test_encode(benchmark: Any, batch: int) -> None:
    """Encode an approval for each row of a batch."""
    rig = make_rig(batch)
    rig.decode()
    assert benchmark(rig.encode) > 0


def test_pyiso8583(benchmark: Any) -> None:
    """Decode and answer one message with pyiso8583."""
    benchmark(make_peer().both)
