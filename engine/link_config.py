"""The sections of the configuration that are about links: who connects, and what they may do.

The types only; ``engine.config`` reads, checks and shows them with the others.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from engine import limits

Seconds: TypeAlias = Annotated[int, Meta(ge=1, le=366 * 86_400)]


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
        int, Meta(ge=1, le=limits.CONNECTIONS_MAX, description="further ones are closed at once")
    ] = 1024
    idle_timeout_s: Annotated[
        int, Meta(ge=0, le=86_400, description="silence after which a link is closed; 0 = never")
    ] = 0
    frame_timeout_s: Annotated[
        Seconds, Meta(description="silence within a frame after which the link is closed")
    ] = 30
    frame_bytes_max: Annotated[
        int,
        Meta(
            ge=limits.FRAME_BYTES_MIN,
            le=limits.FRAME_BYTES_MAX,
            description="a longer frame closes the link",
        ),
    ] = limits.FRAME_BYTES_MAX
    zero_length_max: Annotated[
        int, Meta(ge=0, le=1_000_000, description="empty frames in a row before the link is closed")
    ] = 1000
    echo_zero_length: Annotated[
        bool, Meta(description="answer an empty frame (keep-alive) with an empty frame")
    ] = False
    deadline_ms: Annotated[
        int,
        Meta(ge=0, le=60_000, description="a request that waited longer is not posted; 0 = never"),
    ] = 1000
    late: Annotated[
        Literal["answer", "silence"],
        Meta(description="what a request past its deadline gets: answer = declined with 91"),
    ] = "answer"
    overload_wait_ms: Annotated[
        int,
        Meta(ge=0, le=60_000, description="a request that waited longer gets 91 fast; 0 = never"),
    ] = 500


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
