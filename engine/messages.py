"""One message at a time: what the host says by itself, and what tools say to a host.

The hot path never comes here. Values are text as people write it, binary fields as hex; what may be
shown of a message is decided by the dialect (``engine.wire.text``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.wire.canon import plain_value, units_of, wire_data
from engine.wire.columns import FIELD_COUNT, REQUEST, Fault
from engine.wire.dialect import Dialect
from engine.wire.kernels import decode_batch
from engine.wire.masking import mask_value
from engine.wire.table import SEGMENT, compile_dialects
from engine.wire.text import add_header, build_message, frame_length, keepalive

_SPARE_BYTES = 16  # kernels read whole words
_MAC_1, _MAC_2 = 64, 128
Mac = Callable[[bytes], bytes]  # the authentication code, 8 bytes, of some bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read: MTI ("" = unreadable), fields by number, and its first fault."""

    mti: str
    fields: Mapping[int, str]
    fault: Fault
    fault_field: int
    raw: bytes


class MessageCodec:
    """Reads and writes single messages of one dialect, framed."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._table = compile_dialects([dialect])
        self._request = np.zeros(1, REQUEST)
        self._spans = np.zeros((1, FIELD_COUNT, 2), np.uint16)
        self._key = np.zeros(2, np.uint64)
        self._block = np.zeros((1, 16), np.uint8)

    @property
    def header_bytes(self) -> int:
        """Bytes of the length before each message, and of the zeros after it."""
        return self.dialect.framing.header_bytes + self.dialect.framing.reserved_bytes

    @property
    def keepalive(self) -> bytes:
        """The empty frame."""
        return keepalive(self.dialect)

    def has(self, number: int) -> bool:
        """Return whether the dialect has the field."""
        return number in self.dialect.fields

    def frame(self, mti: str, fields: Mapping[int, str]) -> bytes:
        """Return the bytes of a message, framed; ValueError names a field that cannot be."""
        return self.framed(self.message(mti, fields))

    def message(self, mti: str, fields: Mapping[int, str]) -> bytes:
        """Return the bytes of a message from its MTI on."""
        values: dict[int, str | bytes] = {}
        for number, value in fields.items():
            field = self.dialect.fields.get(number)
            is_binary = field is not None and field.format == "b"
            values[number] = bytes.fromhex(value) if is_binary else value
        return build_message(self.dialect, mti, values)

    def sealed(self, mti: str, fields: Mapping[int, str], mac: Mac) -> bytes:
        """Return the frame of a message with its authentication code in its last field.

        That is DE128 where a second bitmap is there anyway, else DE64; a dialect without the field
        gets no code. ``mac`` is given the bytes before it.
        """
        place = _MAC_2 if any(number > _MAC_1 for number in fields) else _MAC_1
        field = self.dialect.fields.get(place)
        if field is None or max(fields) > _MAC_2:
            return self.frame(mti, fields)
        width = field.size // (1 + field.is_hex)
        raw = self.message(mti, {**fields, place: "00" * width})[: -field.size]
        return self.framed(raw + wire_data(self.dialect, field, mac(raw)[:width]))

    def framed(self, message: bytes) -> bytes:
        """Return the frame of a message."""
        return add_header(self.dialect, message)

    def size_of(self, header: bytes) -> int:
        """Return how many bytes follow a header; 0 = an empty frame or one that is no number."""
        framing = self.dialect.framing
        length = header[: framing.header_bytes]
        if framing.length == "binary":
            size = int.from_bytes(length, "big")
        else:
            text = length.hex() if framing.length == "bcd" else length.decode("ascii", "replace")
            size = int(text) if text.isascii() and text.isdigit() else 0
        counted = framing.header_bytes if framing.counts == "all" else 0
        return max(size - counted, 0)

    def read(self, body: bytes) -> Message:
        """Return what the bytes after a header say; never fails, see ``fault``."""
        return self._decoded(frame_length(self.dialect, len(body)) + body)

    def read_message(self, message: bytes) -> Message:
        """Return what the bytes of a message from its MTI on say."""
        return self._decoded(self.framed(message))

    def shown(self, mti: str, fields: Mapping[int, str]) -> str:
        """Return a message for people on one line, its secrets hidden."""
        parts = [mti]
        for number in sorted(fields):
            field = self.dialect.fields.get(number)
            data = fields[number].encode("ascii", "replace")
            if field is not None and field.format == "b" and not field.is_hex:
                data = bytes.fromhex(fields[number])
            parts.append(f"{number}={mask_value(field, data)}")
        return " ".join(parts)

    def _decoded(self, frame: bytes) -> Message:
        arena = np.zeros(len(frame) + _SPARE_BYTES, np.uint8)
        arena[: len(frame)] = np.frombuffer(frame, np.uint8)
        segments = np.zeros(1, SEGMENT)
        segments[0]["end"] = len(frame)
        rows = decode_batch(
            arena, segments, 1, self._table, self._key, self._request, self._spans, self._block
        )
        if rows == 0:
            return Message("", {}, Fault.MTI, 0, frame)
        row = self._request[0]
        message = frame[int(row["start"]) : int(row["start"]) + int(row["size"])]
        words = (int(row[name]) for name in ("bitmap_hi", "bitmap_lo", "bitmap_third"))
        present = "".join(f"{word:064b}" for word in words)
        numbers = (i + 1 for i, bit in enumerate(present) if bit == "1")
        fields = {number: self._text(number, message) for number in numbers}
        mti = int(row["mti"])
        version = (mti // 1000 + self.dialect.version) % 10
        text = "" if mti < 0 else f"{version}{mti % 1000:03d}"
        return Message(text, fields, Fault(int(row["fault"])), int(row["fault_field"]), message)

    def _text(self, number: int, message: bytes) -> str:
        field = self.dialect.fields[number]
        start, size = self._spans[0, number].tolist()
        units = units_of(self.dialect, field, message[start - field.prefix_bytes : start])
        value = plain_value(self.dialect, field, message[start : start + size], units)
        return value if isinstance(value, str) else value.hex().upper()
