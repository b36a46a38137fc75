"""Captures: both file formats, both byte orders, packets out of order and sent twice."""

import struct

import pytest

from engine.wire.capture import is_capture, read_capture

PAYLOAD = bytes(range(60))


def tcp(sequence: int, data: bytes, *, syn: bool = False, back: bool = False) -> bytes:
    """Return a TCP segment between ports 4000 and 8583."""
    ports = (8583, 4000) if back else (4000, 8583)
    return struct.pack(">HHIIBBHHH", *ports, sequence, 0, 5 << 4, 2 if syn else 24, 9, 0, 0) + data


def ipv4(segment: bytes, *, back: bool = False) -> bytes:
    """Return an IPv4 packet."""
    a, b = b"\x0a\0\0\x01", b"\x0a\0\0\x02"
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0)
    return head + (b + a if back else a + b) + segment


def ethernet(packet: bytes, kind: int = 0x0800, tags: bytes = b"") -> bytes:
    """Return an Ethernet frame, with VLAN tags and a padding that is none of the payload."""
    return bytes(12) + tags + kind.to_bytes(2, "big") + packet + bytes(4)


def pcap(packets: list[bytes], link: int = 1, order: str = "<") -> bytes:
    """Return a classic capture."""
    data = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    for packet in packets:
        data += struct.pack(f"{order}IIII", 1, 2, len(packet), len(packet)) + packet
    return data


def block(kind: int, body: bytes, order: str) -> bytes:
    """Return a block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def pcapng(packets: list[bytes], link: int = 1, order: str = "<") -> bytes:
    """Return a capture of blocks: section, interface, packets."""
    data = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    data += block(1, struct.pack(f"{order}HHI", link, 0, 65535), order)
    for packet in packets:
        head = struct.pack(f"{order}IIIII", 0, 0, 0, len(packet), len(packet))
        data += block(6, head + packet, order)
    return data


def packets() -> list[bytes]:
    """Return a conversation: a handshake, pieces out of order and twice, and an answer."""
    sent = [
        tcp(99, b"", syn=True),
        tcp(100, PAYLOAD[:10]),
        tcp(130, PAYLOAD[30:]),
        tcp(110, PAYLOAD[10:30]),
        tcp(105, PAYLOAD[5:30]),
    ]
    return [ipv4(s) for s in sent] + [ipv4(tcp(5, b"answer", back=True), back=True)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("make", [pcap, pcapng])
def test_streams_of_both_directions_in_order(make, order: str) -> None:
    """Each direction is one stream, its bytes as they were sent."""
    data = make([ethernet(p) for p in packets()], order=order)
    assert is_capture(data)
    streams = read_capture(data)
    assert [(s.name, s.data, s.is_whole) for s in streams] == [
        ("10.0.0.1:4000 > 10.0.0.2:8583", PAYLOAD, True),
        ("10.0.0.2:8583 > 10.0.0.1:4000", b"answer", True),
    ]


@pytest.mark.parametrize(
    ("link", "wrap"),
    [
        (1, lambda p: ethernet(p, tags=b"\x81\x00\x00\x05")),
        (101, lambda p: p),
        (0, lambda p: b"\x02\0\0\0" + p),
        (113, lambda p: bytes(14) + b"\x08\x00" + p),
        (276, lambda p: b"\x08\x00" + bytes(18) + p),
    ],
)
def test_link_layers(link: int, wrap) -> None:
    """Ethernet with a VLAN, raw, loopback and the two cooked kinds of Linux."""
    streams = read_capture(pcap([wrap(p) for p in packets()], link))
    assert streams[0].data == PAYLOAD


def test_ipv6_with_an_extension_header() -> None:
    """The payload behind a header of options is found."""
    segment = tcp(1, b"six")
    options = bytes([6, 0]) + bytes(6)
    size = len(options) + len(segment)
    packet = struct.pack(">IHBB", 6 << 28, size, 0, 64) + bytes(31) + b"\x01" + options + segment
    (stream,) = read_capture(pcap([ethernet(packet, 0x86DD)]))
    assert stream.data == b"six"


def test_a_gap_ends_the_stream_and_is_told() -> None:
    """Bytes after a lost packet are not joined to those before it."""
    sent = [ethernet(ipv4(tcp(1, b"abc"))), ethernet(ipv4(tcp(9, b"later")))]
    (stream,) = read_capture(pcap(sent))
    assert (stream.data, stream.is_whole) == (b"abc", False)


def test_a_sequence_that_wraps_is_one_stream() -> None:
    """Numbers go on after 2**32."""
    sent = [ethernet(ipv4(tcp(2**32 - 2, b"abcd"))), ethernet(ipv4(tcp(2, b"ef")))]
    assert read_capture(pcap(sent))[0].data == b"abcdef"


def test_other_bytes_are_refused() -> None:
    """No capture, or one that is cut inside a header, is one error."""
    assert not is_capture(b"\x00\x05hello")
    with pytest.raises(ValueError, match="not a capture"):
        read_capture(b"hello, world")
    with pytest.raises(ValueError, match="cut short"):
        read_capture(b"\xd4\xc3\xb2\xa1\x02")
    whole = pcapng([ethernet(p) for p in packets()])
    for cut in range(4, len(whole), 7):
        try:
            read_capture(whole[:cut])
        except ValueError:
            continue
