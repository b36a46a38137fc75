"""Sockets for the addresses of a configuration, and whether they can be had at all."""

import socket
from collections.abc import Iterator

from engine.config import Config, split_address
from engine.errors import UnavailableError

_ADVICE = "stop what holds it (a switch that runs already?) or choose another"


def addresses_of(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, HOST:PORT) of everything that a switch listens on."""
    for i, listen in enumerate(config.listen):
        yield f"listen[{i}].address", listen.address
    yield "http.address", config.http.address


def bound(address: str) -> socket.socket:
    """Return a socket that is bound and does not listen yet. ``OSError`` says why there is none."""
    host, number = split_address(address)
    found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, place = found[0]
    port = socket.socket(family, kind, protocol)
    try:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(place)
    except OSError:
        port.close()
        raise
    return port


def check_ports(config: Config) -> None:
    """Try every address and let go of it: nobody is to connect before there is who answers.

    Raises ``UnavailableError`` for the first that cannot be had; the line names its key.
    """
    tried: list[socket.socket] = []
    names: dict[object, str] = {}
    try:
        for key, address in addresses_of(config):
            try:
                tried.append(bound(address))
            except OSError as error:
                text = f"{key}: cannot listen on {address}: {why(error)}; {_ADVICE}"
                raise UnavailableError(text) from None
            name = tried[-1].getsockname()
            if name in names:
                text = f"{key}: {address} is the port of {names[name]} too; choose another"
                raise UnavailableError(text)
            names[name] = key
    finally:
        for port in tried:
            port.close()


def why(error: OSError) -> str:
    """Return the system's reason in small letters."""
    text = (error.strerror or str(error)).lower()
    return text.split("]")[-1].strip(" :") or "refused by the system"
