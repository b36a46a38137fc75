"""The test's side of a card link: a blocking socket, and pyiso8583 as an independent codec."""

import itertools
import socket
from typing import Any, Self

import iso8583
from iso8583.specs import default, default_ascii

Fields = dict[str, str]
Spec = dict[str, dict[str, Any]]

SPEC_OF: dict[str, Spec] = {"iso87-bin": default, "iso87-hex": default_ascii}
_NUMBERS = itertools.count(1)
TRANSMITTED = "1124120000"


def payment(pan: str, amount_minor: int = 1_000, **changes: str | None) -> Fields:
    """Return the fields of a new 0100; ``de4="..."`` changes a field, None leaves it out."""
    number = next(_NUMBERS)
    fields: Fields = {
        "t": "0100",
        "2": pan,
        "3": "000000",
        "4": f"{amount_minor:012d}",
        "7": TRANSMITTED,
        "11": f"{number % 1_000_000:06d}",
        "12": "120000",
        "13": "1124",
        "14": "3012",
        "18": "5411",
        "19": "840",
        "22": "051",
        "32": "400099",
        "37": f"{number:012d}",
        "41": "TERM0001",
        "42": "MERCHANT0000001",
        "49": "840",
    }
    return changed(fields, **changes)


def reversal(original: Fields, mti: str = "0420", **changes: str | None) -> Fields:
    """Return the reversal of ``original``: its STAN and RRN, and its key in DE90."""
    key = original["t"][:3] + "0" + original["11"] + original["7"]
    fields = {name: value for name, value in original.items() if name != "14"}
    fields |= {"t": mti, "90": key + original["32"].zfill(11) + "0" * 11}
    return changed(fields, **changes)


def network(code: str = "301", **changes: str | None) -> Fields:
    """Return the fields of a new 0800."""
    number = next(_NUMBERS)
    fields = {"t": "0800", "7": TRANSMITTED, "11": f"{number % 1_000_000:06d}", "70": code}
    return changed(fields, **changes)


def changed(fields: Fields, **changes: str | None) -> Fields:
    """Return ``fields`` with ``t`` or ``de4`` and so on replaced, or left out where None."""
    new: dict[str, str | None] = dict(fields)
    new.update({name.removeprefix("de"): value for name, value in changes.items()})
    return {name: value for name, value in new.items() if value is not None}


class Link:
    """One connection; close it, or use it as a context."""

    def __init__(self, port: int, spec: Spec, *, receive_bytes: int = 0) -> None:
        self.spec = spec
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(15.0)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def frame(self, fields: Fields) -> bytes:
        """Return the bytes of a message with its length header."""
        raw, _ = iso8583.encode(dict(fields), self.spec)
        return len(raw).to_bytes(2, "big") + bytes(raw)

    def send(self, *messages: Fields) -> None:
        """Send messages in one piece."""
        self.socket.sendall(b"".join(self.frame(fields) for fields in messages))

    def receive_bytes(self) -> bytes:
        """Return the next frame without its length header; b"" when the link was closed."""
        head = self._exactly(2)
        return self._exactly(int.from_bytes(head, "big")) if head else b""

    def receive(self) -> Fields:
        """Return the fields of the next message."""
        raw = self.receive_bytes()
        assert raw, "the switch has closed the link"
        fields, _ = iso8583.decode(raw, self.spec)
        return {name: value for name, value in fields.items() if name not in {"h", "p", "1", "bm"}}

    def ask(self, fields: Fields) -> Fields:
        """Send a message and return the answer."""
        self.send(fields)
        return self.receive()

    def is_alive(self) -> bool:
        """Return whether an echo is the next thing that is answered."""
        ask = network()
        return self.ask(ask)["11"] == ask["11"]

    def is_closed(self) -> bool:
        """Wait until the switch closes the link; False when it sends something instead."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            if not part:
                assert not parts, "the switch has closed the link inside a frame"
                return b""
            parts += part
        return parts
