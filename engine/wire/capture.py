"""TCP payloads out of a packet capture: classic pcap, and pcapng.

Each direction of each connection gives one stream of bytes, put in order by sequence number; bytes
sent again are taken once, and a gap ends the stream. Sources: the pcap file format as libpcap
documents it, draft-ietf-opsawg-pcapng, RFC 791, RFC 8200, RFC 9293.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC_SWAPPED = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<"}
_MAGIC = {b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_BYTE_ORDER = 0x1A2B3C4D
_NULL, _ETHERNET, _RAW, _LINUX, _LINUX_2 = 0, 1, 101, 113, 276
_IPV4, _IPV6, _VLAN, _QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
_TCP = 6
_EXTENSIONS = (0, 43, 60)  # headers of IPv6 between address and payload


@dataclass(frozen=True, slots=True)
class Stream:
    """What one side of a connection sent; ``is_whole``: no bytes are missing between."""

    name: str  # address:port > address:port
    data: bytes
    is_whole: bool


def is_capture(data: bytes) -> bool:
    """Return whether the bytes begin as a capture does."""
    magic = data[:4]
    return magic in _MAGIC or magic in _MAGIC_SWAPPED or magic == _SECTION.to_bytes(4, "big")


def read_capture(data: bytes) -> list[Stream]:
    """Return the streams of a capture that have any payload, in order of their first packet.

    Raises
    ------
    ValueError
        The bytes are no capture, or are cut short inside a header.
    """
    try:
        pieces: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        for link, packet in _packets(data):
            segment = _segment(link, packet)
            if segment is not None:
                source, target, sequence, payload = segment
                pieces.setdefault((source, target), []).append((sequence, payload))
    except (struct.error, IndexError):
        raise ValueError("the capture is cut short") from None
    streams = []
    for (source, target), sent in pieces.items():
        whole, is_whole = _assemble(sent)
        if whole:
            streams.append(Stream(f"{source} > {target}", whole, is_whole))
    return streams


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    magic = data[:4]
    order = _MAGIC.get(magic) or _MAGIC_SWAPPED.get(magic)
    if order is None:
        if magic != _SECTION.to_bytes(4, "big"):
            raise ValueError("not a capture: neither pcap nor pcapng")
        yield from _blocks(data)
        return
    (link,) = struct.unpack_from(f"{order}I", data, 20)
    at = 24
    while at + 16 <= len(data):
        _, _, size, _ = struct.unpack_from(f"{order}IIII", data, at)
        at += 16
        yield link & 0xFFFF, data[at : at + size]
        at += size


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    order = "<"
    links: list[int] = []
    at = 0
    while at + 12 <= len(data):
        if data[at : at + 4] == _SECTION.to_bytes(4, "big"):
            (mark,) = struct.unpack_from("<I", data, at + 8)
            order, links = ("<" if mark == _BYTE_ORDER else ">"), []
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if size < 12:
            raise ValueError("the capture has a block of an impossible size")
        if kind == _INTERFACE:
            links.append(struct.unpack_from(f"{order}H", data, at + 8)[0])
        elif kind == _ENHANCED:
            interface, _, _, taken = struct.unpack_from(f"{order}IIII", data, at + 8)
            yield links[interface], data[at + 28 : at + 28 + taken]
        elif kind == _SIMPLE:
            (length,) = struct.unpack_from(f"{order}I", data, at + 8)
            yield links[0], data[at + 12 : at + 12 + min(length, size - 16)]
        at += size


def _segment(link: int, packet: bytes) -> tuple[str, str, int, bytes] | None:
    """Return (source, target, sequence number, payload) of a TCP packet, or None."""
    at, kind = _network(link, packet)
    if kind == _IPV4 and len(packet) >= at + 20:
        head, protocol = (packet[at] & 15) * 4, packet[at + 9]
        end = at + int.from_bytes(packet[at + 2 : at + 4], "big")
        addresses = [".".join(map(str, packet[at + k : at + k + 4])) for k in (12, 16)]
    elif kind == _IPV6 and len(packet) >= at + 40:
        head, protocol = 40, packet[at + 6]
        end = at + 40 + int.from_bytes(packet[at + 4 : at + 6], "big")
        addresses = [f"[{packet[at + k : at + k + 16].hex(':', 2)}]" for k in (8, 24)]
        while protocol in _EXTENSIONS and len(packet) > at + head + 1:
            protocol, head = packet[at + head], head + 8 + 8 * packet[at + head + 1]
    else:
        return None
    at += head
    if protocol != _TCP or len(packet) < at + 20:
        return None
    source, target, sequence = struct.unpack_from(">HHI", packet, at)
    flags = packet[at + 13]
    payload = packet[at + (packet[at + 12] >> 4) * 4 : end]
    sequence += 1 if flags & 2 else 0  # SYN takes a number
    return f"{addresses[0]}:{source}", f"{addresses[1]}:{target}", sequence, payload


def _network(link: int, packet: bytes) -> tuple[int, int]:
    """Return where the network's header begins and of which kind it is; kind 0 = not known."""
    if link == _RAW:
        return 0, {4: _IPV4, 6: _IPV6}.get(packet[0] >> 4 if packet else 0, 0)
    if link == _NULL:
        return 4, {4: _IPV4, 6: _IPV6}.get(packet[4] >> 4 if len(packet) > 4 else 0, 0)
    at = {_ETHERNET: 12, _LINUX: 14, _LINUX_2: 0}.get(link)
    if at is None:
        return 0, 0
    kind = int.from_bytes(packet[at : at + 2], "big")
    at = 20 if link == _LINUX_2 else at + 2
    while kind in (_VLAN, _QINQ):
        kind, at = int.from_bytes(packet[at + 2 : at + 4], "big"), at + 4
    return at, kind


def _assemble(pieces: list[tuple[int, bytes]]) -> tuple[bytes, bool]:
    """Return the bytes in order up to the first gap, and whether there is none."""
    first = pieces[0][0]
    ordered = sorted(((at - first + 2**31) % 2**32 - 2**31, data) for at, data in pieces if data)
    if not ordered:
        return b"", True
    whole = bytearray()
    start = ordered[0][0]
    for at, data in ordered:
        gap = at - start - len(whole)
        if gap > 0:
            return bytes(whole), False
        whole += data[-gap:]  # what was sent again is there already
    return bytes(whole), True
