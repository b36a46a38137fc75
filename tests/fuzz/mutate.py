"""Small changes of the bytes of a link, drawn from a seed."""

from random import Random

_LIKELY = b"\x00\x01\x7f\x80\xff 0139+-_CD=^\xc3\xf0\xf9"


def mutate(data: bytes, others: list[bytes], random: Random) -> bytes:
    """Return ``data`` with one to four changes: bytes, cuts, repeats, pieces of other inputs."""
    changed = bytearray(data)
    for _ in range(1 + (random.random() < 0.5) + 2 * (random.random() < 0.2)):
        kind, size = random.random(), len(changed)
        at = int(random.random() * size) if size else 0
        if kind < 0.35 and size:
            changed[at] = random.choice(_LIKELY)
        elif kind < 0.55 and size:
            changed[at] ^= 1 << random.randrange(8)
        elif kind < 0.65:
            del changed[at : at + 1 + int(random.random() * 4)]
        elif kind < 0.75:
            changed[at:at] = random.randbytes(1 + int(random.random() * 4))
        elif kind < 0.82:
            del changed[at:]
        elif kind < 0.9:
            changed += changed[: 1 + int(random.random() * size)]
        else:
            other = random.choice(others)
            changed[at:] = other[int(random.random() * len(other)) :]
    return bytes(changed[:2048])
