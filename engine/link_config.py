"""The sections of the configuration that are about links: who connects, and what they may do.

The types only; ``engine.config`` reads, checks and shows them with the others.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from engine import limits

Seconds: TypeAlias = Annotated[int, Meta(ge=1, le=366 * 86_400)]
_Silence: TypeAlias = Annotated[int, Meta(ge=0, le=86_400)]  # seconds; 0 = never
_Wait: TypeAlias = Annotated[int, Meta(ge=0, le=60_000)]  # milliseconds; 0 = never
_FrameBytes: TypeAlias = Annotated[int, Meta(ge=limits.FRAME_BYTES_MIN, le=limits.FRAME_BYTES_MAX)]
_Connections: TypeAlias = Annotated[int, Meta(ge=1, le=limits.CONNECTIONS_MAX)]
_Late: TypeAlias = Literal["answer", "silence"]
# Keys that listeners and lines have alike. No base class: a base's keys would stand first in every
# list of keys, before the address.
_FrameTimeout: TypeAlias = Annotated[
    Seconds, Meta(description="silence within a frame after which the link is closed")
]
_FrameBytesMax: TypeAlias = Annotated[
    _FrameBytes, Meta(description="a longer frame closes the link")
]
_Deadline: TypeAlias = Annotated[
    _Wait, Meta(description="a request that waited longer is not posted; 0 = never")
]
_OverloadWait: TypeAlias = Annotated[
    _Wait, Meta(description="a request that waited longer gets 91 fast; 0 = never")
]
_TlsKey: TypeAlias = Annotated[str, Meta(description="its private key, PEM, mode 0600")]
_AS_OF_LISTENER = Meta(description="as of a listener")


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table of the file."""


class Listen(Section, frozen=True):
    """A listener; one block each, so several dialects can be served side by side."""

    address: Annotated[
        str, Meta(description="HOST:PORT; an IPv6 host in brackets; port 0 = any free one")
    ] = "127.0.0.1:8583"
    dialect: Annotated[
        str, Meta(description="name of a shipped dialect, or path of a dialect file (.toml)")
    ] = "iso87-bin"
    security: Annotated[
        str, Meta(description="name of the [[security_profile]] of its links; empty = none")
    ] = ""
    require_sign_on: Annotated[
        bool, Meta(description="decline requests of a link that has not signed on (0800/001)")
    ] = False
    allow: Annotated[
        tuple[str, ...],
        Meta(description="networks that may connect; empty = any, on a loopback address only"),
    ] = ()
    max_connections: Annotated[
        _Connections, Meta(description="further ones are closed at once")
    ] = 1024
    idle_timeout_s: Annotated[
        _Silence, Meta(description="silence after which a link is closed; 0 = never")
    ] = 0
    frame_timeout_s: _FrameTimeout = 30
    frame_bytes_max: _FrameBytesMax = limits.FRAME_BYTES_MAX
    idle_echo_s: Annotated[
        _Silence,
        Meta(description="silence after which the host sends 0800/301; 0 = never"),
    ] = 0
    answer_timeout_s: Annotated[
        Seconds, Meta(description="how long the host waits for an answer; then it closes")
    ] = 10
    sign_off: Annotated[
        bool, Meta(description="send 0800/002 on each link before the switch stops")
    ] = False
    zero_length_max: Annotated[
        int, Meta(ge=0, le=1_000_000, description="empty frames in a row before the link is closed")
    ] = 1000
    echo_zero_length: Annotated[
        bool, Meta(description="answer an empty frame (keep-alive) with an empty frame")
    ] = False
    deadline_ms: _Deadline = 1000
    late: Annotated[
        _Late,
        Meta(description="what a request past its deadline gets: answer = declined with 91"),
    ] = "answer"
    overload_wait_ms: _OverloadWait = 500
    tls_certificate: Annotated[
        str, Meta(description="certificate of this listener, PEM; empty = no TLS")
    ] = ""
    tls_key: _TlsKey = ""
    tls_client_ca: Annotated[
        str, Meta(description="certificates that may sign a peer's; empty = none is demanded")
    ] = ""
    known_peers_only: Annotated[
        bool, Meta(description="refuse a connection that no [[peer]] block fits")
    ] = False


class Peer(Section, frozen=True):
    """Who gets other terms than the listener's: the first block that fits a connection counts.

    A block names at least one of networks, subject, san and fingerprint; all that it names must
    fit. Keys left out are as in the listener.
    """

    name: Annotated[str, Meta(description="of the peer, for logs")] = ""
    listener: Annotated[
        str, Meta(description="address of the listener as it stands there; empty = any")
    ] = ""
    networks: Annotated[
        tuple[str, ...], Meta(description="it comes from one of these networks")
    ] = ()
    subject: Annotated[
        str,
        Meta(description='subject of its certificate, as "CN=acquirer-1,O=Example", or the CN'),
    ] = ""
    san: Annotated[str, Meta(description="a subject alternative name of its certificate")] = ""
    fingerprint: Annotated[
        str, Meta(description="SHA-256 of its certificate in hex, colons allowed")
    ] = ""
    dialect: Annotated[str | None, _AS_OF_LISTENER] = None
    frame_bytes_max: Annotated[_FrameBytes | None, _AS_OF_LISTENER] = None
    security: Annotated[str | None, _AS_OF_LISTENER] = None
    require_sign_on: Annotated[bool | None, _AS_OF_LISTENER] = None
    max_connections: Annotated[
        _Connections | None,
        Meta(description="of this peer, within those of the listener"),
    ] = None
    idle_timeout_s: Annotated[_Silence | None, _AS_OF_LISTENER] = None
    idle_echo_s: Annotated[_Silence | None, _AS_OF_LISTENER] = None
    deadline_ms: Annotated[_Wait | None, _AS_OF_LISTENER] = None
    late: Annotated[_Late | None, _AS_OF_LISTENER] = None
    overload_wait_ms: Annotated[_Wait | None, _AS_OF_LISTENER] = None


class Dial(Section, frozen=True):
    """A line that the host opens itself, keeps up for ever, and serves like a listener's link."""

    name: Annotated[str, Meta(description="of the line, for operators and logs")] = ""
    address: Annotated[str, Meta(description="HOST:PORT of the network")] = ""
    dialect: Annotated[str, Meta(description="as of a listener")] = "iso87-bin"
    security: Annotated[
        str, Meta(description="as of a listener; own messages carry a MAC where it has a key")
    ] = ""
    sign_on: Annotated[
        bool, Meta(description="sign on with 0800/001 when connected, off when the switch stops")
    ] = True
    idle_echo_s: Annotated[
        _Silence, Meta(description="silence after which 0800/301 is sent; 0 = never")
    ] = 30
    answer_timeout_s: Annotated[
        Seconds, Meta(description="how long an answer, or a connection, is waited for")
    ] = 10
    retry_wait_ms: Annotated[
        int, Meta(ge=1, le=600_000, description="before the second try to connect; then doubled")
    ] = 500
    retry_wait_max_s: Annotated[Seconds, Meta(description="longest wait between two tries")] = 60
    frame_timeout_s: _FrameTimeout = 30
    frame_bytes_max: _FrameBytesMax = limits.FRAME_BYTES_MAX
    deadline_ms: _Deadline = 1000
    overload_wait_ms: _OverloadWait = 500
    tls_ca: Annotated[
        str, Meta(description="certificates that may sign the network's; empty = no TLS")
    ] = ""
    tls_server_name: Annotated[
        str, Meta(description="name that the network's certificate must have; empty = the host's")
    ] = ""
    tls_certificate: Annotated[
        str, Meta(description="certificate that the host shows, PEM; empty = none")
    ] = ""
    tls_key: _TlsKey = ""


class OutboxSection(Section, frozen=True):
    """Messages that the host must deliver on its lines: kept until they are answered."""

    wait_s: Annotated[
        Seconds, Meta(description="after the first try without success; then doubled")
    ] = 5
    wait_max_s: Annotated[Seconds, Meta(description="longest wait between two tries")] = 300
    tries_max: Annotated[
        int, Meta(ge=1, le=1_000, description="tries; after the last one an operator is told")
    ] = 10
    messages_max: Annotated[int, Meta(ge=1, le=1_000_000, description="messages that may wait")] = (
        10_000
    )


class Links(Section, frozen=True):
    """What holds for the links of all listeners together."""

    slow_reader_timeout_s: Annotated[
        Seconds, Meta(description="a peer that does not take its answers for so long is closed")
    ] = 10
    queue_bytes_max: Annotated[
        int,
        Meta(
            ge=limits.LINK_PENDING_BYTES_MAX,
            le=16_384 * limits.MIB,
            description="received bytes that may wait for a batch; past it no link is read",
        ),
    ] = limits.QUEUE_BYTES_MAX
    stop_timeout_s: Annotated[
        Seconds, Meta(description="how long a stop waits for requests that were taken")
    ] = 10
