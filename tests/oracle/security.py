"""Naive twins of the kernels that lay out and copy bytes, and of what cards remember."""

from dataclasses import dataclass, field

from engine.wire.elements import Code


def blocks(message: bytes, block: int, marked: int) -> list[bytes]:
    """Return a message in blocks: filled with zeros, or with 0x80 and zeros (2: only if cut)."""
    if marked == 1 or (marked == 2 and (len(message) % block or not message)):
        message += b"\x80"
    message += bytes(-len(message) % block)
    message = message or bytes(block)
    return [message[at : at + block] for at in range(0, len(message), block)]


def written(value: bytes, code: Code) -> bytes:
    """Return bytes as a dialect writes them."""
    if code == Code.RAW:
        return value
    text = value.hex().upper()
    return text.encode("cp500" if code == Code.EBCDIC_HEX else "ascii")


def track_bytes(digits: str, code: Code) -> bytes:
    """Return track 2 as a dialect writes it; = is D in half bytes."""
    if code == Code.ASCII:
        return digits.encode("ascii")
    if code == Code.EBCDIC:
        return digits.encode("cp500")
    halves = digits.replace("=", "D")
    if len(halves) % 2:
        halves = "0" + halves if code == Code.BCD else halves + "F"
    return bytes.fromhex(halves)


def track_values(digits: str, skip: int) -> list[int]:
    """Return expiry, service code and CVV; -1 where the track is too short."""
    rest = digits.split("=")[1]
    parts = (rest[:4], rest[4:7], rest[7 + skip : 10 + skip])
    return [
        int(part) if len(part) == size else -1 for part, size in zip(parts, (4, 3, 3), strict=True)
    ]


@dataclass
class Card:
    """What a card remembers: wrong PINs in a row, and every counter that was used."""

    pin_tries: int = 0
    counters: set[int] = field(default_factory=set)

    def is_used(self, atc: int) -> bool:
        """Whether the counter was used, or is 32 or more behind the highest."""
        return atc in self.counters or (bool(self.counters) and max(self.counters) - atc >= 32)

    def judge(self, chip: str, cvv: str, pin: str, atc: int, tries_max: int = 3) -> str:
        """Return the decision, and remember what counts."""
        if "unknown" in (chip, cvv, pin):
            return "SECURITY_UNAVAILABLE"
        if chip == "wrong":
            return "CRYPTOGRAM_WRONG"
        if chip == "right":
            if self.is_used(atc):
                return "CRYPTOGRAM_REPLAYED"
            self.counters.add(atc)
        if cvv == "wrong":
            return "CARD_VALUE_WRONG"
        if pin != "none" and self.pin_tries >= tries_max:
            return "PIN_TRIES_EXCEEDED"
        if pin == "wrong":
            self.pin_tries += 1
            return "PIN_TRIES_EXCEEDED" if self.pin_tries >= tries_max else "PIN_WRONG"
        if pin == "right":
            self.pin_tries = 0
        return "APPROVED"
