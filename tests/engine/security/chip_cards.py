"""Chip data of test cards, and what pyemv says about it."""

from collections.abc import Mapping
from typing import Any

_TAGS = {
    0x9F02: "000000012345",
    0x9F03: "000000000000",
    0x9F1A: "0840",
    0x95: "0000008000",
    0x5F2A: "0840",
    0x9A: "261124",
    0x9C: "00",
    0x9F37: "CAFE1234",
    0x82: "3900",
    0x9F36: "001C",
    0x9F27: "80",
}


class ChipCard:
    """Tags of one transaction with issuer data ``iad``; ``extra``: pyemv's further arguments."""

    def __init__(
        self,
        iad: str,
        extra: Mapping[str, str],
        *,
        by_status: bool = False,
        by_counter: bool = False,
    ) -> None:
        self.iad = iad
        self._extra = {name: bytes.fromhex(value) for name, value in extra.items()}
        self._by_status = by_status
        self._by_counter = by_counter

    def values(self, **changes: str) -> dict[int, bytes]:
        """Return the tags; ``t9F36="0002"`` changes one."""
        tags = {**_TAGS, 0x9F10: self.iad}
        tags.update({int(name[1:], 16): value for name, value in changes.items()})
        return {tag: bytes.fromhex(value) for tag, value in tags.items()}

    def cryptogram(self, theirs: Any, **changes: str) -> bytes:
        """Return the ARQC that pyemv computes."""
        tags = self.values(**changes)
        signed = {
            f"tag_{tag:x}": tags[tag]
            for tag in (0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36)
        }
        return bytes(theirs.generate_ac(**signed, **self._extra))

    def arpc(
        self, theirs: Any, arqc: bytes, response: bytes = b"00", *, is_approved: bool = True
    ) -> bytes:
        """Return tag 91's value as pyemv computes it."""
        if self._by_status:
            status = bytes.fromhex("00800000" if is_approved else "00400000")
            return bytes(theirs.generate_arpc(arqc, self.values()[0x9F36], status)) + status
        more = (self.values()[0x9F36],) if self._by_counter else ()
        return bytes(theirs.generate_arpc(arqc, *more, response)) + response


VISA_10 = ChipCard("06010A03A4A002", {"cvr": "03A4A002"})
VISA_18 = ChipCard("06011203A4A002", {"tag_9f10": "06011203A4A002"}, by_status=True)
_MCHIP = "A50003040000"
_COUNTERS = "00000000000012FF"
MCHIP_16 = ChipCard(f"0110{_MCHIP}1234", {"cvr": _MCHIP})
MCHIP_17 = ChipCard(f"0111{_MCHIP}1234{_COUNTERS}", {"cvr": _MCHIP, "counters": _COUNTERS})
MCHIP_20 = ChipCard(f"0114{_MCHIP}1234", {"cvr": _MCHIP}, by_counter=True)
MCHIP_21 = ChipCard(
    f"0115{_MCHIP}1234{_COUNTERS}", {"cvr": _MCHIP, "counters": _COUNTERS}, by_counter=True
)


def tlv(tags: Mapping[int, bytes]) -> bytes:
    """Return tags as BER-TLV."""
    out = b""
    for tag, value in tags.items():
        size = bytes([len(value)]) if len(value) < 128 else b"\x81" + bytes([len(value)])
        out += tag.to_bytes((tag.bit_length() + 7) // 8, "big") + size + value
    return out
