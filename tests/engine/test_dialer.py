"""How long a line waits before it is dialled again; the rest is in tests/system/test_lines.py."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.dialer import backoff_s
from engine.link_config import Dial


@given(st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_waits_double_up_to_their_bound_with_jitter(failures: int, seed: int) -> None:
    """Never longer than the bound, never shorter than half of what it would be."""
    dial = Dial(retry_wait_ms=500, retry_wait_max_s=60)
    whole_s = min(0.5 * 2**failures, 60.0)
    assert whole_s / 2 <= backoff_s(dial, failures, Random(seed)) <= whole_s
