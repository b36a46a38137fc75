"""The servers that a dsn names; apart from ``connect``, for the configuration needs no driver."""

from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORT = 5432


def hosts_of(dsn: str) -> list[tuple[str, int]]:
    """Return (host, port) of each server that ``dsn`` names.

    Raises
    ------
    ValueError
        Not a dsn; the text says what is wrong and never repeats it, for it holds a password.
    """
    parts = urlsplit(dsn)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError('expected "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"')
    query = parse_qs(parts.query)
    places = parts.netloc.rpartition("@")[2]
    listed = [place for place in places.split(",") if place]
    listed = listed or [host for text in query.get("host", []) for host in text.split(",")]
    ports = [port for text in query.get("port", []) for port in text.split(",")]
    found = []
    for i, place in enumerate(listed or ["localhost"]):
        host, port = _split_host(place)
        port = port or (ports[min(i, len(ports) - 1)] if ports else str(DEFAULT_PORT))
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError("expected a port of 1 to 65535 after each host")
        found.append((unquote(host), int(port)))
    return found


def _split_host(place: str) -> tuple[str, str]:
    if place.startswith("/"):
        return place, ""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port
