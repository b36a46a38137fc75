"""Chip cryptograms of EMV cards: an ARQC checked, an ARPC made.

The key of a card is derived from the issuer's master key (EMV Book 2, annex A1.4.1, option A), the
key of a transaction from that; neither leaves the place where the master key is kept. Served:

- ``visa``: cryptogram versions 10 (card key itself, ISO 9797-1 padding 1, ARPC method 1) and 18
  (common session key, padding 2, ARPC method 2).
- ``mchip``: versions 16, 17 (session key of ATC and unpredictable number) and 20, 21 (common
  session key), ARPC method 1.

Sources: EMV 4.3 Book 2 sections 8.1, 8.2 and annexes A1.3, A1.4; cryptogram versions as public
tools describe them.
"""

from typing import NamedTuple

import numpy as np

from engine.security.ciphers import DES_BLOCK, Cipher
from engine.security.keys import Usage
from engine.security.macs import Padding, macs

ARQC_BYTES, ATC_BYTES = 8, 2
_ARQC_MARK = 0x80  # upper bits of the cryptogram information data
# Tags that go into the cryptogram, with the bytes of each, in this order.
_SIGNED = (
    (0x9F02, 6),
    (0x9F03, 6),
    (0x9F1A, 2),
    (0x95, 5),
    (0x5F2A, 2),
    (0x9A, 3),
    (0x9C, 1),
    (0x9F37, 4),
    (0x82, 2),
    (0x9F36, 2),
)
_CRYPTOGRAM, _INFORMATION, _ISSUER_DATA, _COUNTER, _UNPREDICTABLE = (
    *(0x9F26, 0x9F27, 0x9F10, 0x9F36, 0x9F37),
)
_CSU_APPROVED, _CSU_DECLINED = bytes.fromhex("00800000"), bytes.fromhex("00400000")
_MCHIP_SESSION_UN = (0x10, 0x11)
_MCHIP_COUNTERS = (0x11, 0x15)


class ChipData(NamedTuple):
    """What a request's chip data says, as far as the cryptogram needs it."""

    arqc: bytes
    atc: bytes
    unpredictable: bytes
    version: int  # cryptogram version number
    signed: bytes  # what the cryptogram is computed over, without padding
    padding: Padding


def read_tlv(data: bytes) -> dict[int, bytes]:
    """Return the primitive data objects of BER-TLV bytes; ``ValueError`` when cut or malformed.

    The first object of a tag counts; unknown tags are kept; constructed ones are kept whole.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if data[at] in (0x00, 0xFF):  # filler between objects
            at += 1
            continue
        tag = data[at]
        at += 1
        if tag & 0x1F == 0x1F:
            more = True
            while more:
                if at >= len(data) or tag > 0xFFFF:
                    raise ValueError("a tag is cut or too long")
                tag = tag << 8 | data[at]
                more = bool(data[at] & 0x80)
                at += 1
        size, at = _length(data, at)
        if at + size > len(data):
            raise ValueError("a value goes past the end")
        found.setdefault(tag, data[at : at + size])
        at += size
    return found


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise ValueError("a length is missing")
    size = data[at]
    at += 1
    if size < 0x80:
        return size, at
    count = size & 0x7F
    if not 1 <= count <= 2 or at + count > len(data):
        raise ValueError("a length is cut or too long")
    return int.from_bytes(data[at : at + count], "big"), at + count


def read_chip(scheme: str, data: bytes) -> ChipData | None:
    """Return what the cryptogram needs; None when there is no ARQC, or of a kind not served.

    Raises ``ValueError`` when the TLV is malformed or a signed tag is missing or has another size.
    """
    tags = read_tlv(data)
    information = tags.get(_INFORMATION, b"\x80")
    if _CRYPTOGRAM not in tags:
        return None
    if len(information) != 1 or information[0] & 0xC0 != _ARQC_MARK:
        return None
    issuer = tags.get(_ISSUER_DATA, b"")
    for tag, size in (*_SIGNED, (_CRYPTOGRAM, ARQC_BYTES)):
        if len(tags.get(tag, b"")) != size:
            raise ValueError(f"tag {tag:X} is missing or not of {size} bytes")
    base = b"".join(tags[tag] for tag, _ in _SIGNED)
    found = _visa(issuer) if scheme == "visa" else _mchip(issuer)
    if found is None:
        return None
    version, card_part, padding = found
    return ChipData(
        tags[_CRYPTOGRAM],
        tags[_COUNTER],
        tags[_UNPREDICTABLE],
        version,
        base + card_part,
        padding,
    )


def _visa(issuer: bytes) -> tuple[int, bytes, Padding] | None:
    """Issuer data: length, key index, version, card verification results (4), more."""
    if len(issuer) < 7:
        return None
    if issuer[2] == 0x0A:
        return 10, issuer[3:7], Padding.ZEROS
    if issuer[2] == 0x12:
        return 18, issuer, Padding.MARK
    return None


def _mchip(issuer: bytes) -> tuple[int, bytes, Padding] | None:
    """Issuer data: key index, version, card verification results (6), DAC (2), counters (8)."""
    if len(issuer) < 8 or issuer[1] not in (0x10, 0x11, 0x14, 0x15):
        return None
    part = issuer[2:8]
    if issuer[1] in _MCHIP_COUNTERS:
        if len(issuer) < 18:
            return None
        part += issuer[10:18]
    return issuer[1], part, Padding.MARK


def card_key(master: Cipher, pan: str, sequence: int) -> Cipher:
    """Return the key of a card (option A): of the rightmost 16 digits of number and sequence."""
    y = bytes.fromhex(f"{pan}{sequence:02d}".zfill(16)[-16:])
    return master.derive(y + bytes(b ^ 0xFF for b in y))


def session_key(scheme: str, card: Cipher, chip: ChipData) -> Cipher:
    """Return the key of the transaction; version 10 has none of its own and gets the card's."""
    if scheme == "visa" and chip.version == 10:
        return card
    tail = bytes(4)
    if scheme == "mchip" and chip.version in _MCHIP_SESSION_UN:
        tail = chip.unpredictable
    return card.derive(chip.atc + b"\xf0\x00" + tail + chip.atc + b"\x0f\x00" + tail)


def cryptogram(session: Cipher, chip: ChipData) -> bytes:
    """Return the cryptogram that the card should have sent."""
    return _retail(session, chip.signed, chip.padding)


def arpc(
    scheme: str,
    card: Cipher,
    session: Cipher,
    chip: ChipData,
    response: bytes,
    *,
    is_approved: bool,
) -> bytes:
    """Return tag 91's value: ARPC and response code (method 1), or ARPC and card status (method 2).

    ``response`` is the two characters of tag 8A.
    """
    if scheme == "visa" and chip.version == 18:
        status = _CSU_APPROVED if is_approved else _CSU_DECLINED
        return _retail(session, chip.arqc + status, Padding.MARK)[:4] + status
    # Session keys of ATC and unpredictable number sign the request only (M/Chip 16, 17).
    key = card if scheme == "mchip" and chip.version in _MCHIP_SESSION_UN else session
    mixed = bytes(a ^ b for a, b in zip(chip.arqc, response.ljust(DES_BLOCK, b"\0"), strict=True))
    return key.encrypt(mixed) + response


def _retail(cipher: Cipher, message: bytes, padding: Padding) -> bytes:
    data = np.frombuffer(message, np.uint8).copy()
    starts, sizes = np.zeros(1, np.int64), np.array([len(data)], np.int64)
    return macs(cipher, Usage.MAC_3, padding, data, starts, sizes)[0].tobytes()
