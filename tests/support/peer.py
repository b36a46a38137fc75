"""The shell's side of a link without a socket: what it was told is kept."""


class Peer:
    """Keeps what was sent, and whether the link is read or closed."""

    def __init__(self) -> None:
        self.sent = b""
        self.unasked: list[tuple[int, int, bytes]] = []
        self.is_reading = True
        self.closed = ""  # the reason; "" = open

    def send(self, data: bytes) -> bool:
        """Take an answer."""
        self.sent += data
        return True

    def close(self, reason: str) -> None:
        """Note the reason."""
        self.closed = reason

    def pause(self) -> None:
        """Stop reading."""
        self.is_reading = False

    def resume(self) -> None:
        """Read on."""
        self.is_reading = True

    def answered(self, mti: int, stan: int, message: bytes) -> bool:
        """Note that an answer came to what was never asked."""
        self.unasked.append((mti, stan, message))
        return False
