"""What a load run keeps: one slot a payment, one row a connection, one row of counters.

A payment's slot is found by its running number (DE37), so that each answer is checked against what
was sent: how often it was answered, on which connection, with which STAN.
"""

import numpy as np

from bench.latency import BUCKETS

SLOT = np.dtype(
    [
        ("sent_us", "<i8"),  # intended send time of the 0100, from the run's start
        ("approval", "<u8"),  # DE38 of the first answer, first character in the lowest byte
        ("second", "<u4"),  # Unix seconds in its DE7
        ("again_us", "<u4"),  # send time of the 0101, from sent_us
        ("back_us", "<u4"),  # send time of the 0420, from sent_us
        ("connection", "<u2"),
        ("response", "<u2"),  # DE39 of the first answer, first character in the low byte; 0 = none
        ("back_response", "<u2"),  # the same of the 0430
        ("spare", "<u2"),
        ("expected", "u1"),  # 0100 and 0101 sent
        ("answered", "u1"),  # 0110 received
        ("back_expected", "u1"),  # 0420 sent
        ("back_answered", "u1"),  # 0430 received
    ]
)
assert SLOT.itemsize == 40

CONNECTION = np.dtype(
    [
        ("send_start", "<i8"),  # bytes send_start:send_end of its send buffer wait to go out
        ("send_end", "<i8"),
        ("recv_end", "<i8"),  # bytes received and not yet taken
        ("in_flight", "<i8"),  # payments sent and not answered
        ("broken", "<i8"),  # 1 = it sent a frame that cannot be
    ]
)

RUN = np.dtype(
    [
        # Set before the run.
        ("first_number", "<i8"),
        ("capacity", "<i8"),  # slots
        ("interval_us", "<f8"),  # open loop: between two payments; 0 = closed loop
        ("window", "<i8"),  # closed loop: payments in flight on a connection
        ("wall_s", "<i8"),  # Unix seconds at the start, for DE7; -1 = simulated time
        ("seed", "<i8"),
        ("repeat_share", "<i8"),  # of 2**20
        ("reversal_share", "<i8"),
        ("lag", "<i8"),  # repeats and reversals follow this many payments later
        ("warm_us", "<i8"),  # payments due before it are not measured
        ("late_us", "<i8"),  # sent later than this after its time = late
        # Counted.
        ("next", "<i8"),  # next slot
        ("turn", "<i8"),  # closed loop: connection to look at next
        ("sent", "<i8"),  # messages, repeats and reversals included
        ("sent_measured", "<i8"),
        ("late", "<i8"),
        ("answered", "<i8"),  # messages
        ("answered_measured", "<i8"),
        ("approved", "<i8"),  # payments
        ("declined", "<i8"),
        ("repeats", "<i8"),  # answers to a 0101
        ("reversals", "<i8"),  # answers to a 0420
        ("doubled", "<i8"),
        ("swapped", "<i8"),  # wrong connection or STAN
        ("changed", "<i8"),  # a repeat was answered otherwise than its original
        ("unknown", "<i8"),  # answers to nothing that was sent
        ("malformed", "<i8"),  # answers that cannot be read
        ("max_us", "<i8"),
        ("last_us", "<i8"),  # when the last measured answer came
    ]
)

CODES = 65_536  # DE39's two characters as a number, first in the low byte
SCENARIOS = 4


def new_counts() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return zeroed counters of latency, i64[BUCKETS]."""
    return np.zeros(BUCKETS, dtype=np.int64)
