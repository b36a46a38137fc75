"""Published features of a stream, one payment at a time, from their description."""

from bench.handbook import DAY_S


def features(rows: list[tuple[int, int, int, int, int]], row: int, delay_days: int) -> list[float]:
    """Return counts and means of the card, then counts and fraud shares of the terminal.

    ``rows`` are (t_s, card, terminal, cents, fraud) in the order of the stream; windows of 1, 7
    and 30 days that end at the payment, or ``delay_days`` before it for the terminal.
    """
    t_s, card, terminal, _, _ = rows[row]
    found: list[float] = []
    for days in (1, 7, 30):
        seen = [r for r in rows[: row + 1] if r[1] == card and t_s - days * DAY_S < r[0] <= t_s]
        found += [len(seen), sum(r[3] for r in seen) / len(seen) / 100]
    end_s = t_s - delay_days * DAY_S
    for days in (1, 7, 30):
        old = [
            r for r in rows[: row + 1] if r[2] == terminal and end_s - days * DAY_S < r[0] <= end_s
        ]
        found += [len(old), sum(r[4] for r in old) / len(old) if old else 0.0]
    return found
