"""What operators may ask about links: lines to networks, their outbox, and a reload."""

from concurrent.futures import Future
from typing import Protocol

import msgspec

MESSAGES_MAX = 1_000


class SendMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/lines/{line}/messages: type, and fields by number as text, binary ones as hex.

    The host adds DE7 and DE11. An advice or a notification is kept until it is answered; a request
    is asked once.
    """

    mti: str
    fields: dict[str, str] = {}


class SentView(msgspec.Struct, frozen=True):
    """What became of it: kept (with its number), or answered, no_answer, not_sent for a request."""

    state: str
    message: int = 0
    response_code: str = ""


class LineView(msgspec.Struct, frozen=True):
    """A line as operators see it."""

    line: str
    address: str
    dialect: str
    state: str  # down, signing on or up
    connects: int  # times it was connected since the start


class MessageView(msgspec.Struct, frozen=True):
    """A message of the outbox; ``shown`` has its fields, hidden ones left out."""

    message: int
    line: str
    mti: str
    state: str  # waiting, delivered, refused or given_up
    tries: int
    response_code: str
    operator: str
    shown: str


class ReloadView(msgspec.Struct, frozen=True):
    """What decides after a reload."""

    ruleset_sha256: str
    model_sha256: str


class LinkOperations(Protocol):
    """The engine's side; futures fail with an ``AdminError``."""

    def lines(self) -> "Future[list[LineView]]":
        """Return every line."""
        ...

    def send(self, line: str, request: SendMessage, operator: str) -> "Future[SentView]":
        """Send a message on a line. NotFound, Invalid, Unavailable."""
        ...

    def messages(self, state: str | None, most: int) -> "Future[list[MessageView]]":
        """Return the newest messages of the outbox."""
        ...

    def reload(self, operator: str) -> "Future[ReloadView]":
        """Read the configuration again. Conflict says why it was not taken."""
        ...
