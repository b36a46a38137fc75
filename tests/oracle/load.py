"""What the kernels of the load generator should do, written from the text and slowly."""

import datetime as dt
import math

FIXED = {3: 6, 4: 12, 5: 12, 6: 12, 7: 10, 8: 8, 9: 8, 10: 8, 11: 6, 12: 6, 18: 4, 27: 1}
FIXED |= dict.fromkeys((13, 14, 15, 16, 17), 4) | dict.fromkeys((19, 20, 21, 22, 23, 24), 3)
FIXED |= {25: 2, 26: 2} | dict.fromkeys((28, 29, 30, 31), 9) | {37: 12, 38: 6, 39: 2}
PREFIXED = {2: 2, 32: 2, 33: 2, 34: 2, 35: 2, 36: 3}


def clock(t_s: int) -> str:
    """MMDDhhmmss (UTC) of Unix seconds."""
    return dt.datetime.fromtimestamp(t_s, tz=dt.UTC).strftime("%m%d%H%M%S")


def check_digit(body: str) -> int:
    """The Luhn digit: every second digit from the right doubled, its digits summed."""
    doubled = [int(c) * (2 - i % 2) for i, c in enumerate(reversed(body))]
    return -sum(sum(map(int, str(d))) for d in doubled) % 10


def in_reach(
    customer: tuple[float, float], terminals: list[tuple[float, float]], radius: float
) -> set[int]:
    """Numbers of the terminals closer than ``radius``."""
    return {i for i, xy in enumerate(terminals) if math.dist(customer, xy) < radius}


def number(text: bytes) -> int:
    """ASCII digits as a number, -1 when anything else is among them."""
    return int(text) if all(48 <= c <= 57 for c in text) else -1


def read_reply(frame: bytes, *, hexadecimal: bool) -> tuple[int, int, int, bytes, bytes] | None:
    """MTI, STAN, DE37 as a number, DE38, DE39 of a reply; None when it cannot be read.

    Absent or unreadable numbers are -1, absent text is empty.
    """
    width = 16 if hexadecimal else 8
    if len(frame) < 4 + width or number(frame[:4]) < 0:
        return None
    raw = frame[4 : 4 + width]
    if hexadecimal:
        if any(c not in b"0123456789abcdefABCDEF" for c in raw):
            return None
        raw = bytes.fromhex(raw.decode())
    bits = f"{int.from_bytes(raw, 'big'):064b}"
    at = 4 + width * (1 + int(bits[0]))
    fields: dict[int, bytes] = {}
    for field in range(2, 40):
        if bits[field - 1] == "0":
            continue
        if field in PREFIXED:
            head = frame[at : at + PREFIXED[field]]
            if len(head) < PREFIXED[field] or number(head) < 0:
                return None
            at += len(head)
            size = number(head)
        else:
            size = FIXED[field]
        if at + size > len(frame):
            return None
        fields[field] = frame[at : at + size]
        at += size
    return (
        number(frame[:4]),
        number(fields.get(11, b"-")),
        number(fields.get(37, b"-")),
        fields.get(38, b""),
        fields.get(39, b""),
    )


def bucket_bounds(latency_us: int) -> tuple[int, int]:
    """Lowest and highest latency that shares a bucket: exact to 2,047, else the top 11 bits."""
    shift = max(latency_us.bit_length() - 11, 0)
    low = latency_us >> shift << shift
    return low, low + (1 << shift) - 1
