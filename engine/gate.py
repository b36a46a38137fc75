"""Who may connect to a listener, how many at once, and what each gets: its terms.

The first ``[[peer]]`` block that fits a connection names its terms; one that none fits has the
listener's own, unless only known peers may connect. No socket here.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from engine.link_config import Listen, Peer
from engine.metrics import Shed
from engine.session import Profile
from engine.tls import PeerFacts


class Places(NamedTuple):
    """Where what a configuration names stands in the running switch."""

    rows: Mapping[tuple[str, int], int]  # (dialect, longest frame) -> row of the dialect table
    security: Mapping[str, int]  # name of a security profile -> its number; "" -> 0


class Terms:
    """What one kind of peer gets: a profile, a dialect, and how many connections."""

    __slots__ = ("connections_max", "count", "dialect", "name", "profile")

    def __init__(self, name: str, profile: Profile, dialect: int, connections_max: int) -> None:
        self.name = name
        self.profile = profile
        self.dialect = dialect  # row of the dialect table
        self.connections_max = connections_max
        self.count = 0


class Gate:
    """The terms of one listener, and who gets which."""

    def __init__(self, listen: Listen, peers: Sequence[Peer], places: Places) -> None:
        self._own = _terms("", listen, places)
        self._only_known = listen.known_peers_only
        self._networks = [ipaddress.ip_network(text, strict=False) for text in listen.allow]
        self._peers = [
            (peer, _terms(peer.name, merged(listen, peer), places))
            for peer in peers
            if peer.listener in ("", listen.address)
        ]
        self._connections_max = listen.max_connections
        self.count = 0

    @property
    def own(self) -> Terms:
        """The listener's own terms."""
        return self._own

    def admit(self, facts: PeerFacts) -> Terms | Shed:
        """Return the terms of a peer, or why it may not connect. Nothing is counted yet."""
        if self.count >= self._connections_max:
            return Shed.CONNECTIONS
        if self._networks and not self._is_allowed(facts.address):
            return Shed.ADDRESS
        for peer, terms in self._peers:
            if fits(peer, facts):
                return Shed.CONNECTIONS if terms.count >= terms.connections_max else terms
        return Shed.UNKNOWN_PEER if self._only_known else self._own

    def enter(self, terms: Terms) -> None:
        """Count a connection with these terms."""
        self.count += 1
        terms.count += 1

    def leave(self, terms: Terms) -> None:
        """Count it no more."""
        self.count -= 1
        terms.count -= 1

    def _is_allowed(self, address: str) -> bool:
        found = ipaddress.ip_address(address)
        return any(found in network for network in self._networks)


def fits(peer: Peer, facts: PeerFacts) -> bool:
    """Return whether everything that the block names is so of this peer."""
    if peer.networks and not _is_in(facts.address, peer.networks):
        return False
    if peer.subject and peer.subject != facts.subject and peer.subject != _common_name(facts):
        return False
    if peer.san and peer.san not in facts.names:
        return False
    wanted = peer.fingerprint.replace(":", "").lower()
    return not wanted or wanted == facts.fingerprint


def merged(listen: Listen, peer: Peer) -> Listen:
    """Return the listener's settings with those that the peer has of its own."""
    changes = {
        name: value
        for name in Peer.__struct_fields__
        if name in Listen.__struct_fields__ and (value := getattr(peer, name)) is not None
    }
    return msgspec.structs.replace(listen, **changes)


def profile_of(listen: Listen, security: int) -> Profile:
    """Return the session profile of a listener's settings."""
    return Profile(
        sign_on_required=listen.require_sign_on,
        idle_timeout_s=listen.idle_timeout_s,
        idle_echo_s=listen.idle_echo_s,
        answer_timeout_s=listen.answer_timeout_s,
        frame_timeout_s=listen.frame_timeout_s,
        zero_length_max=listen.zero_length_max,
        echo_zero_length=listen.echo_zero_length,
        deadline_ms=listen.deadline_ms,
        overload_ms=listen.overload_wait_ms,
        late_is_silent=listen.late == "silence",
        sign_off=listen.sign_off,
        security=security,
    )


def _terms(name: str, listen: Listen, places: Places) -> Terms:
    row = places.rows[listen.dialect, listen.frame_bytes_max]
    profile = profile_of(listen, places.security[listen.security])
    return Terms(name, profile, row, listen.max_connections)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in ipaddress.ip_network(text, strict=False) for text in networks)


def _common_name(facts: PeerFacts) -> str:
    return next((p[3:] for p in facts.subject.split(",") if p.startswith("CN=")), "\0")
