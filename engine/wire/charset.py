"""Characters on the wire: format classes of bytes, and EBCDIC beside ASCII.

The three code pages agree on letters and digits; they differ in punctuation. Source: the code page
tables of IBM's CDRA, as Python's codecs have them for 037 and 500. Code page 1047 is 037 with three
pairs exchanged.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_LATIN = "latin-1"
# Code point of 1047 -> its character, where 1047 differs from 037.
_OPEN_SYSTEMS = {0x5F: "^", 0xAD: "[", 0xB0: "\xac", 0xBA: "\xdd", 0xBB: "\xa8", 0xBD: "]"}
CODE_PAGES = ("cp037", "cp500", "cp1047")


class Char(IntEnum):
    """Bits of the character table: which format classes a byte belongs to."""

    DIGIT = 1
    LETTER_SPACE = 2  # a
    WORD = 4  # an: letters, digits, space
    PRINTABLE = 8  # ans: 0x20-0x7E
    NO_LETTER = 16  # ns: printable without letters
    TRACK = 32  # z: digits, = and D
    HEX = 64
    SIGN = 128  # C or D
    ANY = 256


CHAR_OF_FORMAT = {
    "n": Char.DIGIT,
    "a": Char.LETTER_SPACE,
    "an": Char.WORD,
    "ans": Char.PRINTABLE,
    "ns": Char.NO_LETTER,
    "z": Char.TRACK,
    "b": Char.ANY,
    "x+n": Char.DIGIT,
}


def members_of(bit: Char) -> bytes:
    """Return the ASCII characters of a class."""
    digits, letters = b"0123456789", bytes(range(65, 91)) + bytes(range(97, 123))
    printable = bytes(range(0x20, 0x7F))
    return {
        Char.DIGIT: digits,
        Char.LETTER_SPACE: letters + b" ",
        Char.WORD: letters + digits + b" ",
        Char.PRINTABLE: printable,
        Char.NO_LETTER: bytes(c for c in printable if c not in letters),
        Char.TRACK: digits + b"=D",
        Char.HEX: digits + b"abcdefABCDEF",
        Char.SIGN: b"CD",
        Char.ANY: bytes(range(256)),
    }[bit]


def character_classes(text: str = "ascii") -> NDArray[np.uint16]:
    """Return the table u2[256] of the Char bits of each byte, in ASCII or a code page."""
    chars = np.full(256, Char.ANY, np.uint16)
    to_ascii = ascii_of(text)
    for bit in Char:
        if bit != Char.ANY:
            members = np.isin(to_ascii, np.frombuffer(members_of(bit), np.uint8))
            chars[members] |= np.uint16(bit)
    return chars


def ascii_of(text: str) -> NDArray[np.uint8]:
    """Return the table u1[256] from a byte to ASCII; 255 = no character of ASCII."""
    table = np.full(256, 255, np.uint8)
    for byte, character in enumerate(code_page(text)):
        if ord(character) < 0x80:
            table[byte] = ord(character)
    return table


def byte_of(text: str) -> NDArray[np.uint8]:
    """Return the table u1[256] from ASCII to the bytes of ``text``; others stay."""
    table = np.arange(256, dtype=np.uint8)
    for byte, character in enumerate(code_page(text)):
        if ord(character) < 0x80:
            table[ord(character)] = byte
    return table


def code_page(text: str) -> str:
    """Return the 256 characters of a code page in order.

    Raises
    ------
    ValueError
        No such code page.
    """
    every = bytes(range(256))
    if text == "ascii":
        return every.decode(_LATIN)
    if text in ("cp037", "cp500"):
        return every.decode(text)
    if text == "cp1047":
        characters = list(every.decode("cp037"))
        for byte, character in _OPEN_SYSTEMS.items():
            characters[byte] = character
        return "".join(characters)
    raise ValueError(f"{text!r} is not ascii or one of {', '.join(CODE_PAGES)}")
